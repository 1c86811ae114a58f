import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest } from "../rpc/infer-messages.ts";
import type { Repository } from "./repository/repository.ts";
import {
  type AnsweringModel,
  type BeginCall,
  namesRegion,
  throughMemory,
} from "./shared-memory/memory-call.ts";
import type { RegionTable } from "./shared-memory/region-table.ts";

/** Where the models of requests come from. */
export interface ModelSource {
  /**
   * The model in memory; `undefined` if {@link recall} brings it there.
   *
   * @throws TensorwireError why it does not answer
   */
  find(request: InferRequest): AnsweringModel | undefined;
  /**
   * Begins a call once its model is in memory.
   *
   * @throws TensorwireError what {@link Repository.recall} throws
   */
  recall<T>(
    request: InferRequest,
    call: CallAbort,
    use: (model: AnsweringModel) => T | Promise<T>,
  ): Promise<T>;
}

/**
 * The models of a repository.
 *
 * @param regions - shared memory where the tensors of calls may be
 */
export function modelSource(repository: Repository, regions: RegionTable | undefined): ModelSource {
  const plain: ModelSource = {
    find: ({ modelName, modelVersion }) => repository.find(modelName, modelVersion),
    recall: ({ modelName, modelVersion }, call, use) =>
      repository.recall(modelName, modelVersion, call, use),
  };
  if (!regions) return plain;
  const begin: BeginCall = async (request, call, use) => {
    const model = plain.find(request);
    return model ? use(model) : plain.recall(request, call, use);
  };
  const inMemory = (request: InferRequest, model: AnsweringModel): AnsweringModel =>
    namesRegion(request) ? throughMemory(model, regions, begin) : model;
  return {
    find(request) {
      const model = plain.find(request);
      return model && inMemory(request, model);
    },
    recall: (request, call, use) =>
      plain.recall(request, call, (model) => use(inMemory(request, model))),
  };
}
