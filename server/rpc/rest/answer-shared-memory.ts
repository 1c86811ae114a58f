import { create } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  CudaSharedMemoryStatusRequestSchema,
  SystemSharedMemoryRegisterRequestSchema,
  SystemSharedMemoryStatusRequestSchema,
  SystemSharedMemoryUnregisterRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import {
  type JsonObject,
  malformed,
  member,
  parseJsonObject,
  stringMember,
} from "./json-object.ts";
import { jsonResponse } from "./json-response.ts";
import { readBody } from "./read-body.ts";
import type { RestCall } from "./rest-call.ts";

/** The region of the path, or all. */
export async function sharedMemoryStatus({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const request = create(SystemSharedMemoryStatusRequestSchema, { name: match.region });
  const { regions = {} } = await options.backend.systemSharedMemoryStatus(request, context);
  const rows = Object.values(regions).map(({ name, key, offset = 0n, byteSize = 0n }) => ({
    name,
    key,
    offset: Number(offset),
    byte_size: Number(byteSize),
  }));
  return jsonResponse(200, JSON.stringify(rows));
}

/** Registers a region: `{"key", "offset", "byte_size"}`, of which `offset` may be left out. */
export async function registerSharedMemory({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const message = create(SystemSharedMemoryRegisterRequestSchema, {
    name: match.region,
    key: stringMember(body, "key", "the body"),
    offset: bytesMember(body, "offset", 0n),
    byteSize: bytesMember(body, "byte_size", undefined),
  });
  await options.backend.systemSharedMemoryRegister(message, context);
  return jsonResponse(200, "{}");
}

/** The region of the path, or all, of CUDA memory. */
export async function cudaMemoryStatus({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const request = create(CudaSharedMemoryStatusRequestSchema, { name: match.region });
  const { regions = {} } = await options.backend.cudaSharedMemoryStatus(request, context);
  const rows = Object.values(regions).map(({ name, deviceId = 0n, byteSize = 0n }) => ({
    name,
    device_id: Number(deviceId),
    byte_size: Number(byteSize),
  }));
  return jsonResponse(200, JSON.stringify(rows));
}

/** Unregisters the region of the path, or all. */
export async function unregisterSharedMemory({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const request = create(SystemSharedMemoryUnregisterRequestSchema, { name: match.region });
  await options.backend.systemSharedMemoryUnregister(request, context);
  return jsonResponse(200, "{}");
}

/** A whole number of bytes, as a uint64 holds it. */
function bytesMember(body: JsonObject, key: string, byDefault: bigint | undefined): bigint {
  const value = member(body, key) ?? byDefault;
  const whole = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
  if (typeof whole !== "bigint" || whole < 0n || whole >= 2n ** 64n)
    throw malformed(`"${key}" of the body must be a number of bytes, an integer of 0 or more`);
  return whole;
}
