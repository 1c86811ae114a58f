import {
  type ModelOptimizationPolicy_ExecutionAccelerators_Accelerator as Accelerator,
  type ModelConfig,
  type ModelInstanceGroup,
  ModelInstanceGroup_Kind,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import {
  type ExecutionProvider,
  mostDevice,
  parseProvider,
} from "../engines/onnx/execution-providers.ts";
import {
  cpuSettings,
  type GraphLevel,
  type SessionSettings,
} from "../engines/onnx/session-settings.ts";
import { checkInstances, readGroups } from "./read-instances.ts";

/** What holds for models that do not say otherwise. */
export interface RuntimeDefaults {
  /** Empty for the CPU. */
  readonly providers: readonly ExecutionProvider[];
  readonly graphLevel: GraphLevel;
}

/** How ONNX Runtime runs a model. */
export interface ModelRuntime {
  /** One for each instance. */
  readonly instances: readonly SessionSettings[];
  /** Threads for one operator; `undefined` leaves it to the server. */
  readonly intraOpThreads: number | undefined;
}

/** Triton's numbers of optimization.graph.level; any other is all. */
const graphLevels: Readonly<Record<number, GraphLevel>> = {
  [-1]: "basic",
  1: "extended",
  2: "disabled",
};

/** Names in gpu_execution_accelerator. */
const gpuAccelerators = ["tensorrt", "cuda"];

/** Parameters of a configuration that Triton's backend takes for a GPU. */
const gpuParameters = [
  "gpu_mem_limit",
  "cudnn_conv_algo_search",
  "arena_extend_strategy",
  "do_copy_in_default_stream",
];

const mostThreads = 256;

/**
 * Reads how ONNX Runtime is to run a model, as Triton's onnxruntime backend reads it: instance_group,
 * optimization.graph.level, optimization.execution_accelerators and the parameters
 * intra_op_thread_count, inter_op_thread_count, execution_mode, enable_mem_arena, enable_mem_pattern and
 * session.use_device_allocator_for_initializers.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED` for options of a GPU, which
 * onnxruntime-node does not pass on
 */
export function readRuntime(
  model: string,
  config: ModelConfig | undefined,
  defaults: RuntimeDefaults,
): ModelRuntime {
  const parameters = new Parameters(model, config);
  const level = config?.optimization?.graph?.level;
  const parallel = parameters.choice("execution_mode", ["0", "1"]) === "1";
  const shared = {
    graphLevel: level === undefined ? defaults.graphLevel : (graphLevels[level] ?? "all"),
    executionMode: parallel ? "parallel" : "sequential",
    interOpThreads: parameters.threads("inter_op_thread_count") ?? cpuSettings.interOpThreads,
    memoryArena: parameters.flag("enable_mem_arena") ?? true,
    memoryPattern: parameters.flag("enable_mem_pattern") ?? true,
    deviceInitializers: parameters.flag("session.use_device_allocator_for_initializers") ?? false,
  } as const;
  const groups = readGroups(model, config);
  const placed =
    groups.length === 0
      ? [providersOfAuto(model, config, defaults)]
      : groups.flatMap((group) => providersOfGroup(model, config, group, defaults));
  checkInstances(model, placed.length);
  const onGpu = placed.some((providers) =>
    providers.some(({ name }) => gpuAccelerators.includes(name)),
  );
  const unpassed = onGpu ? gpuParameters.find((name) => parameters.has(name)) : undefined;
  if (unpassed !== undefined) throw optionUnsupported(model, `parameter "${unpassed}"`);
  return {
    instances: placed.map((providers) => ({ ...shared, providers })),
    intraOpThreads: parameters.threads("intra_op_thread_count"),
  };
}

/** The providers of each instance of a group. */
function providersOfGroup(
  model: string,
  config: ModelConfig | undefined,
  { kind, count, gpus }: ModelInstanceGroup,
  defaults: RuntimeDefaults,
): (readonly ExecutionProvider[])[] {
  const each = (providers: readonly ExecutionProvider[]): (readonly ExecutionProvider[])[] =>
    new Array<readonly ExecutionProvider[]>(Math.min(count, 1000)).fill(providers);
  if (kind === ModelInstanceGroup_Kind.CPU) return each(cpuProviders(model, config));
  if (kind !== ModelInstanceGroup_Kind.GPU) return each(providersOfAuto(model, config, defaults));
  const devices = gpus.length > 0 ? gpus : [defaultGpu(defaults)];
  const wrong = devices.find((device) => device < 0 || device > mostDevice);
  if (wrong !== undefined) {
    throw modelConfigInvalid(
      model,
      `has instance_group gpus ${wrong}, expected 0 to ${mostDevice}`,
    );
  }
  return devices.flatMap((device) => each(gpuProviders(model, config, device)));
}

/** A model that asks for an accelerator gets it; any other goes where the server's models go. */
function providersOfAuto(
  model: string,
  config: ModelConfig | undefined,
  defaults: RuntimeDefaults,
): readonly ExecutionProvider[] {
  const accelerators = config?.optimization?.executionAccelerators;
  if (accelerators && accelerators.gpuExecutionAccelerator.length > 0)
    return gpuProviders(model, config, defaultGpu(defaults));
  const asked = cpuProviders(model, config);
  return asked.length > 0 ? asked : defaults.providers;
}

function defaultGpu({ providers }: RuntimeDefaults): number {
  return providers.find(({ name }) => gpuAccelerators.includes(name))?.device ?? 0;
}

/** CUDA takes what the accelerators of the configuration leave. */
function gpuProviders(
  model: string,
  config: ModelConfig | undefined,
  device: number,
): readonly ExecutionProvider[] {
  const asked = config?.optimization?.executionAccelerators?.gpuExecutionAccelerator ?? [];
  const names = asked.map((accelerator) => {
    const name = acceleratorName(model, accelerator);
    if (!gpuAccelerators.includes(name)) {
      throw modelConfigInvalid(
        model,
        `names gpu_execution_accelerator "${accelerator.name}", expected ${gpuAccelerators.join(" or ")}`,
      );
    }
    return name;
  });
  return [...new Set([...names, "cuda"])].map((name) => ({ name, device }));
}

function cpuProviders(
  model: string,
  config: ModelConfig | undefined,
): readonly ExecutionProvider[] {
  const asked = config?.optimization?.executionAccelerators?.cpuExecutionAccelerator ?? [];
  return asked.map((accelerator) => ({ name: acceleratorName(model, accelerator), device: 0 }));
}

function acceleratorName(model: string, accelerator: Accelerator): string {
  const provider = parseProvider(accelerator.name);
  if (!provider) {
    throw modelConfigInvalid(model, `names an execution accelerator "${accelerator.name}"`);
  }
  const [parameter] = Object.keys(accelerator.parameters);
  if (parameter !== undefined) {
    throw optionUnsupported(
      model,
      `parameter "${parameter}" of execution accelerator "${accelerator.name}"`,
    );
  }
  return provider.name;
}

function optionUnsupported(model: string, what: string) {
  return modelUnsupported(
    model,
    `${what} cannot be acted on: onnxruntime-node gives execution providers the number of the device and nothing else; leave it out`,
  );
}

/** The `parameters` of a configuration. */
class Parameters {
  readonly #model: string;
  readonly #values: ModelConfig["parameters"];

  constructor(model: string, config: ModelConfig | undefined) {
    this.#model = model;
    this.#values = config?.parameters ?? {};
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#values, name);
  }

  /** A number of threads; `undefined` if it is left out, or 0, which leaves it to the server. */
  threads(name: string): number | undefined {
    if (!this.has(name)) return undefined;
    const text = this.#text(name);
    const count = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
    if (!(count <= mostThreads)) throw this.#invalid(name, text, `0 to ${mostThreads}`);
    return count === 0 ? undefined : count;
  }

  flag(name: string): boolean | undefined {
    const value = this.choice(name, ["0", "1", "false", "true"]);
    return value === undefined ? undefined : value === "1" || value === "true";
  }

  choice(name: string, choices: readonly string[]): string | undefined {
    if (!this.has(name)) return undefined;
    const text = this.#text(name).toLowerCase();
    if (!choices.includes(text)) throw this.#invalid(name, text, choices.join(", "));
    return text;
  }

  #text(name: string): string {
    return this.#values[name]?.stringValue.trim() ?? "";
  }

  #invalid(name: string, given: string, expected: string) {
    return modelConfigInvalid(
      this.#model,
      `has parameter "${name}" ${JSON.stringify(given)}, expected ${expected}`,
    );
  }
}
