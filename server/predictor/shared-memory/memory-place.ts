import { parameterInvalid } from "../../errors/request-errors.ts";
import { sharedMemoryRangeInvalid } from "../../errors/shared-memory-errors.ts";
import type { InferParameterValue } from "../../rpc/infer-messages.ts";
import { parameterValue } from "../infer-parameter.ts";
import type { RegionTable } from "./region-table.ts";
import type { SharedRegion } from "./shared-region.ts";

type Parameters = Readonly<Record<string, InferParameterValue>>;

/** Parameters that say where the contents of a tensor are; the names are Triton's. */
export const memoryParameters = {
  region: "shared_memory_region",
  offset: "shared_memory_offset",
  byteSize: "shared_memory_byte_size",
} as const;

const allParameters: readonly string[] = Object.values(memoryParameters);

/** A range of a region, checked. */
export interface MemoryPlace {
  readonly region: SharedRegion;
  readonly offset: number;
  readonly byteSize: number;
}

/** Whether the contents of a tensor are, or belong, in shared memory. */
export function isInMemory(parameters: Parameters): boolean {
  return Object.hasOwn(parameters, memoryParameters.region);
}

/** The other parameters of the tensor. */
export function otherParameters(parameters: Parameters): Parameters {
  return Object.fromEntries(
    Object.entries(parameters).filter(([name]) => !allParameters.includes(name)),
  );
}

/**
 * Reads where a tensor is.
 *
 * @param tensor - for messages: `input "x"`
 * @throws TensorwireError `PARAMETER_INVALID`, `SHARED_MEMORY_REGION_UNKNOWN`, `SHARED_MEMORY_RANGE_INVALID`
 */
export function placeOf(tensor: string, parameters: Parameters, table: RegionTable): MemoryPlace {
  const name = parameterValue(parameters, memoryParameters.region);
  if (typeof name !== "string") {
    throw parameterInvalid(memoryParameters.region, text(name), "the name of a region, a string");
  }
  const region = table.find(name);
  const offset = readBytes(parameters, memoryParameters.offset, 0n);
  const byteSize = readBytes(parameters, memoryParameters.byteSize, undefined);
  if (offset + byteSize > BigInt(region.place.byteSize)) {
    throw sharedMemoryRangeInvalid(
      name,
      `${tensor} in shared memory region '${name}'`,
      { offset, byteSize },
      region.place.byteSize,
    );
  }
  return { region, offset: Number(offset), byteSize: Number(byteSize) };
}

function readBytes(parameters: Parameters, name: string, byDefault: bigint | undefined): bigint {
  const value = parameterValue(parameters, name);
  if (value === undefined && byDefault !== undefined) return byDefault;
  if (typeof value !== "bigint" || value < 0n) {
    throw parameterInvalid(name, text(value), "a number of bytes of 0 or more, an integer");
  }
  return value;
}

function text(value: unknown): string {
  return value === undefined ? "nothing" : String(value);
}
