import { sharedMemoryRegionUnknown } from "../../errors/shared-memory-errors.ts";
import type { Log } from "../../observability/log.ts";
import type { InferenceBackend } from "../../rpc/inference-backend.ts";
import { type ControlPolicy, checkNearness } from "../control-policy.ts";
import { unsupportedRpc } from "../unsupported-rpc.ts";
import type { RegionTable } from "./region-table.ts";
import type { RegionPlace } from "./shared-region.ts";

/** RPCs of the shared memory extensions. */
export type MemoryControl = Pick<
  InferenceBackend,
  | "systemSharedMemoryStatus"
  | "systemSharedMemoryRegister"
  | "systemSharedMemoryUnregister"
  | "cudaSharedMemoryStatus"
  | "cudaSharedMemoryRegister"
  | "cudaSharedMemoryUnregister"
>;

const cudaRegister = unsupportedRpc(
  "CudaSharedMemoryRegister",
  "CUDA memory cannot be shared with this server; send tensors in the message",
);

/**
 * Of CUDA memory there is none to list and none to forget; clients clean up both kinds.
 *
 * @param table - `undefined` where the server takes no shared memory
 */
export function createMemoryControl(
  table: RegionTable | undefined,
  policy: ControlPolicy,
  log: Log,
): MemoryControl {
  if (!table) {
    const why =
      "this server takes no shared memory; start it with --allow-shared-memory, or send tensors in the message";
    return {
      systemSharedMemoryStatus: unsupportedRpc("SystemSharedMemoryStatus", why),
      systemSharedMemoryRegister: unsupportedRpc("SystemSharedMemoryRegister", why),
      systemSharedMemoryUnregister: unsupportedRpc("SystemSharedMemoryUnregister", why),
      cudaSharedMemoryStatus: unsupportedRpc("CudaSharedMemoryStatus", why),
      cudaSharedMemoryRegister: cudaRegister,
      cudaSharedMemoryUnregister: unsupportedRpc("CudaSharedMemoryUnregister", why),
    };
  }
  return {
    async systemSharedMemoryStatus({ name }) {
      const places = name === "" ? table.places() : [table.find(name).place];
      return { regions: Object.fromEntries(places.map((place) => [place.name, status(place)])) };
    },
    async systemSharedMemoryRegister(request, context) {
      checkNearness(policy, context, "SystemSharedMemoryRegister");
      table.register(request);
      const { name, key, offset, byteSize } = request;
      const region = { region: name, key, offset: Number(offset), bytes: Number(byteSize) };
      log.info({ ...region, peer: context.peer.address }, "registered shared memory");
      return {};
    },
    async systemSharedMemoryUnregister({ name }, context) {
      checkNearness(policy, context, "SystemSharedMemoryUnregister");
      if (name === "") table.unregisterAll();
      else table.unregister(name);
      const region = name === "" ? "all" : name;
      log.info({ region, peer: context.peer.address }, "unregistered shared memory");
      return {};
    },
    async cudaSharedMemoryStatus({ name }) {
      if (name !== "") throw sharedMemoryRegionUnknown(name);
      return {};
    },
    cudaSharedMemoryRegister: cudaRegister,
    async cudaSharedMemoryUnregister() {
      return {};
    },
  };
}

function status({ name, key, offset, byteSize }: RegionPlace): {
  readonly name: string;
  readonly key: string;
  readonly offset: bigint;
  readonly byteSize: bigint;
} {
  return { name, key, offset: BigInt(offset), byteSize: BigInt(byteSize) };
}
