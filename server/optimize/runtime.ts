import { InferenceSession, type Tensor as OrtTensor } from "onnxruntime-node";
import { messageOf } from "../errors/from-unknown.ts";
import { modelExecutionFailed, modelLoadFailed } from "../errors/model-errors.ts";

/** Tensors of a run by input. */
export type Feeds = Readonly<Record<string, OrtTensor>>;

/** An input or output as the runtime declares it. */
export interface RuntimePort {
  readonly name: string;
  /** Type of its elements in the runtime's words, such as `float32`; `undefined` for what is no tensor. */
  readonly type: string | undefined;
  /** -1 is any size. */
  readonly shape: readonly number[];
}

/** A model opened to be run. */
export interface RuntimeModel {
  readonly inputs: readonly RuntimePort[];
  readonly outputs: readonly RuntimePort[];
  /**
   * @param fetches - outputs to compute; all tensors without it
   * @throws TensorwireError `MODEL_EXECUTION_FAILED`
   */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

/** How a model is opened. */
export interface RuntimeOptions {
  /** Threads for one operator; 1 without it. */
  readonly threads?: number;
  /** How far the runtime changes the graph as it opens it; all it can without it. */
  readonly level?: NonNullable<InferenceSession.SessionOptions["graphOptimizationLevel"]>;
  /** Where it writes the graph that it made of it. */
  readonly writeTo?: string;
}

/**
 * Opens a model in ONNX Runtime.
 *
 * @param name - for messages
 * @throws TensorwireError `MODEL_LOAD_FAILED` with the runtime's words
 */
export async function openInRuntime(
  name: string,
  bytes: Uint8Array,
  { threads = 1, level = "all", writeTo }: RuntimeOptions = {},
): Promise<RuntimeModel> {
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(bytes, {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: level,
      // What fails is told by us; the runtime would print it again.
      logSeverityLevel: 4,
      ...(writeTo === undefined ? {} : { optimizedModelFilePath: writeTo }),
    });
  } catch (error) {
    throw modelLoadFailed(name, messageOf(error), error);
  }
  const outputs = session.outputMetadata.map(portOf);
  const tensors = outputs.filter(({ type }) => type !== undefined).map(({ name }) => name);
  return {
    inputs: session.inputMetadata.map(portOf),
    outputs,
    async run(feeds, fetches = tensors) {
      try {
        return (await session.run(feeds, fetches)) as Record<string, OrtTensor>;
      } catch (error) {
        throw modelExecutionFailed(name, messageOf(error), error);
      }
    },
    release: () => session.release(),
  };
}

function portOf(metadata: InferenceSession.ValueMetadata): RuntimePort {
  if (!metadata.isTensor) return { name: metadata.name, type: undefined, shape: [] };
  return {
    name: metadata.name,
    type: metadata.type,
    shape: metadata.shape.map((size) => (typeof size === "number" ? size : -1)),
  };
}
