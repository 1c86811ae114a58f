import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { messageOf } from "../../../errors/from-unknown.ts";
import { modelExecutionFailed, modelLoadFailed } from "../../../errors/model-errors.ts";
import { TensorwireError } from "../../../errors/tensorwire-error.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import type { EngineResult } from "../engine.ts";
import { FileSource, memorySource } from "./byte-source.ts";
import type { GraphCacheOptions, GraphCacheReport } from "./graph-cache.ts";
import { type GraphPlan, type GraphPort, planGraph } from "./graph-plan.ts";
import { type NativeSession, openNativeSession } from "./native-session.ts";
import { type OpenedGraph, openThroughCache } from "./open-graph.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { cpuSettings, ortOptions, type SessionSettings } from "./session-settings.ts";

/** How a session is made. */
export interface OnnxSessionOptions {
  /** Name of the model, for messages. */
  readonly model: string;
  /** Path of the .onnx file. */
  readonly path: string;
  /** Contents of the file, if they have been read; the file is not looked at again then. */
  readonly contents?: Uint8Array;
  /** Threads for one operator. */
  readonly intraOpThreads: number;
  /** ONNX Runtime's defaults on the CPU without them. */
  readonly settings?: SessionSettings;
  /** Where the optimised graph is kept; nowhere without it. */
  readonly graphCache?: GraphCacheOptions | undefined;
}

/** An ONNX Runtime session and its declared interface. Belongs to the thread that loaded it. */
export class OnnxSession {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** False if the values of an input may decide how long a run takes. */
  readonly timeFollowsSize: boolean;
  /** False if equal inputs may give different outputs. */
  readonly isDeterministic: boolean;
  /** Size of the model file. */
  readonly fileBytes: number;
  /** What the graph cache had to do with it; `undefined` if it was not asked. */
  readonly graphCache: GraphCacheReport | undefined;
  readonly #model: string;
  readonly #session: NativeSession;
  readonly #defaults: ReadonlyMap<string, OrtTensor>;
  readonly #outputByName: ReadonlyMap<string, GraphPort>;

  private constructor(
    model: string,
    plan: GraphPlan,
    { session, report }: OpenedGraph,
    defaults: ReadonlyMap<string, OrtTensor>,
    fileBytes: number,
  ) {
    this.fileBytes = fileBytes;
    this.graphCache = report;
    this.inputs = plan.inputs;
    this.outputs = plan.outputs;
    this.timeFollowsSize = plan.timeFollowsSize;
    this.isDeterministic = plan.isDeterministic;
    this.#model = model;
    this.#session = session;
    this.#defaults = defaults;
    this.#outputByName = new Map(plan.outputs.map((output) => [output.name, output]));
  }

  /**
   * Reads, adapts where needed, and opens the model.
   *
   * @throws TensorwireError `MODEL_LOAD_FAILED` with the runtime's words, `MODEL_UNSUPPORTED`
   */
  static async load(options: OnnxSessionOptions): Promise<OnnxSession> {
    const { model, path } = options;
    const settings = options.settings ?? cpuSettings;
    const sessionOptions = ortOptions(settings, options.intraOpThreads);
    let file: FileSource | undefined;
    try {
      const { contents } = options;
      file = contents ? undefined : new FileSource(path);
      const source = file ?? memorySource(contents ?? new Uint8Array());
      const plan = planGraph(model, source);
      const defaults = new Map<string, OrtTensor>();
      for (const [input, bytes] of plan.defaults) {
        const constant = openNativeSession(bytes, sessionOptions);
        const fetches = fetchesOf(constant.outputMetadata.map(({ name }) => name));
        const [output] = Object.values(constant.run({}, fetches, noOptions));
        constant.dispose();
        if (output) defaults.set(input, output);
      }
      const opened = await openPlanned(plan, contents ?? path, settings, sessionOptions, options);
      return new OnnxSession(model, plan, opened, defaults, source.size);
    } catch (error) {
      if (error instanceof TensorwireError) throw error;
      throw modelLoadFailed(model, messageOf(error), error);
    } finally {
      file?.close();
    }
  }

  /**
   * Runs the model, before it returns; inputs that are left out take their defaults.
   *
   * @throws TensorwireError `MODEL_EXECUTION_FAILED` with the runtime's words
   */
  run(inputs: readonly Tensor[], outputNames: readonly string[]): EngineResult {
    const feeds: Record<string, OrtTensor> = {};
    for (const port of this.inputs) {
      const tensor = inputs.find((input) => input.name === port.name);
      if (tensor) feeds[port.sessionName] = toOrtTensor(tensor);
      else {
        const value = this.#defaults.get(port.name);
        if (value) feeds[port.sessionName] = value;
      }
    }
    const ports = outputNames.map((name) => this.#port(name));
    const fetches = fetchesOf(ports.map(({ sessionName }) => sessionName));
    const started = performance.now();
    let results: Record<string, OrtTensor>;
    try {
      results = this.#session.run(feeds, fetches, noOptions);
    } catch (error) {
      throw modelExecutionFailed(this.#model, messageOf(error), error);
    }
    const inferNs = Math.round((performance.now() - started) * 1e6);
    return {
      outputs: ports.map((port) => fromOrtTensor(this.#model, port, results[port.sessionName]!)),
      inferNs,
    };
  }

  /** Frees the session. */
  release(): void {
    this.#session.dispose();
  }

  #port(name: string): GraphPort {
    const port = this.#outputByName.get(name);
    if (!port) throw modelExecutionFailed(this.#model, `it has no output "${name}"`);
    return port;
  }
}

/**
 * Opens what was planned. The graph is kept unless it is one for a GPU, which may hold what that provider
 * alone reads, or has weights in other files, of which nothing tells that they are still the same.
 */
async function openPlanned(
  { adapted, external }: GraphPlan,
  file: string | Uint8Array,
  settings: SessionSettings,
  sessionOptions: InferenceSession.SessionOptions,
  { graphCache }: OnnxSessionOptions,
): Promise<OpenedGraph> {
  const model = adapted ?? file;
  const { graphLevel, providers } = settings;
  if (!graphCache || external || graphLevel === "disabled" || providers.length > 0)
    return { session: openNativeSession(model, sessionOptions), report: undefined };
  return openThroughCache(model, settings, sessionOptions, graphCache);
}

const noOptions: InferenceSession.RunOptions = {};

/** Has the runtime allocate the outputs. */
function fetchesOf(names: readonly string[]): Record<string, null> {
  const fetches: Record<string, null> = {};
  for (const name of names) fetches[name] = null;
  return fetches;
}
