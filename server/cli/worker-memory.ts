import { create, toBinary } from "@bufbuild/protobuf";
import {
  SystemSharedMemoryRegisterRequestSchema,
  SystemSharedMemoryStatusRequestSchema,
  SystemSharedMemoryUnregisterRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import type { Task } from "../cluster/messages.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import { type ControlPolicy, checkNearness } from "../predictor/control-policy.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import { workerTasks } from "./worker-questions.ts";

/** What a worker does with regions of shared memory: all workers know the same ones. */
type MemoryEverywhere = Pick<
  InferenceBackend,
  "systemSharedMemoryRegister" | "systemSharedMemoryUnregister"
>;

/**
 * Has all workers register and unregister regions.
 *
 * @param own - of this worker, whose regions are those of all
 * @param everywhere - has every worker do a task
 */
export function memoryEverywhere(
  own: InferenceBackend,
  everywhere: (task: Task) => Promise<void>,
  policy: Pick<ControlPolicy, "allowRemote">,
): MemoryEverywhere {
  const unregister = (name: string): Promise<void> => {
    const message = create(SystemSharedMemoryUnregisterRequestSchema, { name });
    return everywhere({
      name: workerTasks.unregisterMemory,
      key: keyOf(name),
      payload: toBinary(SystemSharedMemoryUnregisterRequestSchema, message),
      leavesNothing: true,
    });
  };
  return {
    async systemSharedMemoryRegister(request, context) {
      checkNearness(policy, context, workerTasks.registerMemory);
      const payload = toBinary(SystemSharedMemoryRegisterRequestSchema, request);
      const { name } = request;
      try {
        await everywhere({ name: workerTasks.registerMemory, key: keyOf(name), payload });
      } catch (error) {
        // Where it worked it is undone, so that trying again is not refused by some. A region that all
        // have already is another matter: it stays.
        if (fromUnknown(error).reason !== "SHARED_MEMORY_REGION_EXISTS") await unregister(name);
        throw error;
      }
      return {};
    },
    async systemSharedMemoryUnregister({ name }, context) {
      checkNearness(policy, context, workerTasks.unregisterMemory);
      if (name !== "") {
        await unregister(name);
        return {};
      }
      const all = create(SystemSharedMemoryStatusRequestSchema);
      const { regions = {} } = await own.systemSharedMemoryStatus(all, context);
      for (const each of Object.keys(regions)) await unregister(each);
      return {};
    },
  };
}

/** No model is called so. */
function keyOf(region: string): string {
  return `/dev/shm/${region}`;
}
