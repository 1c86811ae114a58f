import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  ModelRepositoryParameter,
  RepositoryIndexResponse_ModelIndexSchema,
  RepositoryModelLoadRequest,
  RepositoryModelUnloadRequest,
} from "../../gen/inference/grpc_service_pb.ts";
import type { ModelConfig } from "../../gen/inference/model_config_pb.ts";
import { modelNameInvalid } from "../errors/model-errors.ts";
import { parameterInvalid } from "../errors/request-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { SettableLog } from "../observability/logger.ts";
import type { TraceControl } from "../observability/trace-control.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import { createSettingCalls } from "../rpc/setting-calls.ts";
import { type ControlPolicy, checkControl, checkNearness } from "./control-policy.ts";
import { readConfigOverride } from "./model-config/read-config.ts";
import { modelSource } from "./model-source.ts";
import type { IndexRow } from "./repository/model-entry.ts";
import { compareVersions } from "./repository/model-name.ts";
import type { LoadRequest, Repository } from "./repository/repository.ts";
import { type RestingModel, servingModel } from "./repository/version-state.ts";
import { createMemoryControl } from "./shared-memory/memory-control.ts";
import type { RegionTable } from "./shared-memory/region-table.ts";
import type { TensorSpec } from "./signature.ts";
import { streamInfer } from "./stream-infer.ts";

/** Extensions that ServerMetadata lists; the names are Triton's. */
const extensions = [
  "binary_tensor_data",
  "classification",
  "model_configuration",
  "model_repository",
  "model_repository(unload_dependents)",
  "sequence",
  "statistics",
  "trace",
  "logging",
];

/** What the backend answers from. */
export interface PredictorBackendOptions {
  readonly repository: Repository;
  readonly control: ControlPolicy;
  /** Shared memory that callers have registered; `undefined` where they may not. */
  readonly regions: RegionTable | undefined;
  readonly serverName: string;
  readonly serverVersion: string;
  readonly isReady: () => boolean;
  readonly log: SettableLog;
  readonly traces: TraceControl;
}

/** GRPCInferenceService over a model repository. */
export function createPredictorBackend(options: PredictorBackendOptions): InferenceBackend {
  const { repository, control, regions, log, traces } = options;
  const models = modelSource(repository, regions);

  return {
    async serverLive() {
      return { live: true };
    },
    async serverReady() {
      return { ready: options.isReady() };
    },
    async modelReady({ name, version }) {
      return { ready: repository.answers(name, version) };
    },
    async serverMetadata() {
      const more = regions ? ["system_shared_memory"] : [];
      const { serverName: name, serverVersion: version } = options;
      return { name, version, extensions: [...extensions, ...more] };
    },
    async modelMetadata({ name, version }, context) {
      const model = await repository.describe(name, version, context);
      return {
        name,
        versions: version === "" ? repository.availableVersions(name) : [version],
        platform: model.config.platform,
        inputs: model.signature.inputs.map(tensorMetadata),
        outputs: model.signature.outputs.map(tensorMetadata),
      };
    },
    async modelConfig({ name, version }, context) {
      return { config: (await repository.describe(name, version, context)).config };
    },
    modelInfer(request, context) {
      const model = models.find(request);
      if (model) return model.infer(request, context);
      return models.recall(request, context, (loaded) => loaded.infer(request, context));
    },
    modelStreamInfer(requests, context) {
      // A client of Triton asks by this header for a status instead of an answer with a message.
      const throws = context.requestHeader.get("triton_grpc_error") === "true";
      return streamInfer(requests, context, models, throws);
    },
    async modelStatistics({ name, version }) {
      const known = name === "" ? [...repository.known()] : versionsOf(repository, name, version);
      return {
        modelStats: known
          .toSorted((a, b) =>
            a.name < b.name ? -1 : a.name > b.name ? 1 : compareVersions(a.version, b.version),
          )
          .map((model) => {
            const executor = repository.executorOf(model);
            return model.statistics.toMessage(
              model.name,
              model.version,
              executor?.memoryBytes ?? 0,
            );
          }),
      };
    },
    async repositoryIndex({ repositoryName, ready }) {
      refuseRepositoryName(repositoryName);
      await repository.scan();
      const rows = repository.index().map(indexRow);
      return { models: ready ? rows.filter(({ state }) => state === "READY") : rows };
    },
    async repositoryModelLoad(request, context) {
      const name = modelName(request);
      checkControl(control, context, "RepositoryModelLoad");
      log.info({ model: name, peer: context.peer.address }, "asked to load a model");
      await repository.load(name, readLoadParameters(name, request.parameters));
      return { modelName: name, isLoaded: true };
    },
    async repositoryModelUnload(request, context) {
      const name = modelName(request);
      checkControl(control, context, "RepositoryModelUnload");
      log.info({ model: name, peer: context.peer.address }, "asked to unload a model");
      await repository.unload(name, readUnloadSteps(request.parameters));
      return { modelName: name, isUnloaded: true };
    },
    ...createMemoryControl(regions, control, log),
    ...createSettingCalls({
      log,
      traces,
      checkControl: (context, call) => checkNearness(control, context, call),
      checkModel: (model) => void repository.find(model, ""),
    }),
  };
}

function tensorMetadata({ name, datatype, shape }: TensorSpec): {
  name: string;
  datatype: string;
  shape: bigint[];
} {
  return { name, datatype, shape: shape.map(BigInt) };
}

function versionsOf(repository: Repository, name: string, version: string): RestingModel[] {
  const known = [...repository.known()].filter(
    (model) => model.name === name && (version === "" || model.version === version),
  );
  // Of a model that does not answer calls the error says why.
  if (known.length === 0) repository.find(name, version);
  return known;
}

function indexRow({
  name,
  version,
  state,
}: IndexRow): MessageInitShape<typeof RepositoryIndexResponse_ModelIndexSchema> {
  switch (state.kind) {
    case "ready":
      return { name, version, state: "READY", reason: "" };
    case "standby":
      return { name, version, state: "READY", reason: "not in memory: the next call loads it" };
    case "recalling":
      return { name, version, state: "READY", reason: "being loaded for the calls that wait" };
    case "evicting":
      return {
        name,
        version,
        state: "READY",
        reason: "makes room for another model: the next call loads it again",
      };
    case "loading":
      return { name, version, state: "LOADING", reason: "" };
    case "unloading":
      return { name, version, state: "UNLOADING", reason: "" };
    case "unloaded":
      return { name, version, state: "UNAVAILABLE", reason: "not loaded" };
    case "failed":
      return {
        name,
        version,
        state: servingModel(state) ? "READY" : "UNAVAILABLE",
        reason: state.error.message,
      };
  }
}

/** KServe's messages carry the model in field 1, Triton's in field 2 behind the repository. */
function modelName({
  repositoryName,
  modelName,
}: {
  repositoryName: string;
  modelName: string;
}): string {
  if (modelName === "") {
    if (repositoryName === "") throw modelNameInvalid("");
    return repositoryName;
  }
  refuseRepositoryName(repositoryName);
  return modelName;
}

function refuseRepositoryName(repositoryName: string): void {
  if (repositoryName !== "") {
    throw new TensorwireError(
      "REPOSITORY_UNSUPPORTED",
      `'repository_name' specification is not supported, got "${repositoryName}"; leave it empty`,
      { repositoryName },
    );
  }
}

function readLoadParameters(
  name: string,
  parameters: RepositoryModelLoadRequest["parameters"],
): LoadRequest {
  let config: ModelConfig | undefined;
  const files = new Map<string, Uint8Array>();
  for (const [key, { parameterChoice }] of Object.entries<ModelRepositoryParameter>(parameters)) {
    const given = parameterChoice.case ?? "nothing";
    if (key === "config") {
      if (parameterChoice.case !== "stringParam")
        throw parameterInvalid(key, given, "string_param with a ModelConfig as JSON");
      config = readConfigOverride(name, parameterChoice.value);
    } else if (key.startsWith("file:")) {
      if (parameterChoice.case !== "bytesParam")
        throw parameterInvalid(key, given, "bytes_param with the contents of the file");
      files.set(key.slice("file:".length), parameterChoice.value);
    } else {
      throw parameterInvalid(
        key,
        "a parameter that is not known",
        '"config", or "file:<version>/<file>" for each file of the model',
      );
    }
  }
  return { config, ...(files.size > 0 ? { files } : {}) };
}

function readUnloadSteps(parameters: RepositoryModelUnloadRequest["parameters"]): boolean {
  let withSteps = false;
  for (const [key, { parameterChoice }] of Object.entries<ModelRepositoryParameter>(parameters)) {
    if (key !== "unload_dependents")
      throw parameterInvalid(key, "a parameter that is not known", '"unload_dependents"');
    if (parameterChoice.case !== "boolParam")
      throw parameterInvalid(key, parameterChoice.case ?? "nothing", "bool_param");
    withSteps = parameterChoice.value;
  }
  return withSteps;
}
