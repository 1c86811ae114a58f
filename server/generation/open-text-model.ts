import { readFile } from "node:fs/promises";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { messageOf } from "../errors/from-unknown.ts";
import { modelLoadFailed } from "../errors/model-errors.ts";
import { bytesOf, viewTypedArray } from "../tensor/typed-array.ts";
import type { GenerationObservation } from "./generation-observation.ts";
import type { TensorSession } from "./onnx-step-model.ts";
import { createTextGenerator, type TextGenerator } from "./text-generator.ts";
import { characterVocabulary } from "./vocabulary.ts";

/** A text model in two files, and how many texts it writes at once. */
export interface TextModelOptions {
  /** Path of an ONNX graph with the ports that `createOnnxStepModel` lists. */
  readonly graph: string;
  /** Path of a JSON object with the members of {@link VocabularyFile}. */
  readonly vocabulary: string;
  /** Name for messages. Default: the path of the graph. */
  readonly name?: string;
  /** Generations that run at once, 1 to 1024. Default 8. Each has memory for a whole context. */
  readonly slots?: number;
  /** Generations that may wait for a slot; more are refused with `QUEUE_FULL`. Default 64. */
  readonly maxWaiting?: number;
  /** Tokens of prompts in one step at most: a long prompt holds others up no longer. Default 64. */
  readonly prefillTokens?: number;
  /** Threads that a step computes with. Default 1, which is best for steps of some milliseconds. */
  readonly threads?: number;
  /** Gets what happens, for metrics; `createGenerationStatistics().add` adds it up. */
  readonly observe?: (observation: GenerationObservation) => void;
}

/** What stands in a vocabulary's file: the sizes of the graph's cache, and the characters of its tokens. */
export interface VocabularyFile {
  readonly layers: number;
  readonly heads: number;
  readonly headSize: number;
  /** Tokens that a text has room for, prompt and answer together. */
  readonly contextLength: number;
  /** Characters of the tokens from 1 on; token 0 begins and ends texts. */
  readonly characters: string;
}

const counts = ["layers", "heads", "headSize", "contextLength"] as const;

/**
 * Opens a text model, which then generates texts, several at once. Runs in the thread that calls it, and
 * computes a step before anything else of the thread has its turn; a model in TypeScript has a thread of
 * its own for this.
 *
 * ```ts
 * const model = await openTextModel({ graph: "opticks.onnx", vocabulary: "opticks.json" });
 * for await (const { text } of model.generate("The Rays of ", { max_tokens: 80 }, { signal })) {
 *   process.stdout.write(text);
 * }
 * ```
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED` if a file cannot be read, or the two do not fit together
 */
export async function openTextModel(options: TextModelOptions): Promise<TextGenerator> {
  const { graph, slots = 8, threads = 1, name = graph } = options;
  if (!Number.isInteger(slots) || slots < 1 || slots > 1024) {
    throw modelLoadFailed(name, `got ${slots} slots, expected 1 to 1024`);
  }
  const file = await readVocabulary(name, options.vocabulary);
  const vocabulary = characterVocabulary(file.characters);
  const session = await openSession(name, graph, threads);
  checkPorts(name, session, file, vocabulary.size);
  return createTextGenerator({
    ...options,
    ...file,
    name,
    slots,
    vocabulary,
    session: tensorSession(session),
    release: () => session.release(),
  });
}

async function readVocabulary(name: string, path: string): Promise<VocabularyFile> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw modelLoadFailed(name, `its vocabulary cannot be read: ${messageOf(error)}`, error);
  }
  const file = (typeof value === "object" && value !== null ? value : {}) as VocabularyFile;
  const wrong = counts.find((member) => !(Number.isSafeInteger(file[member]) && file[member] > 0));
  if (wrong !== undefined) {
    throw modelLoadFailed(name, `"${wrong}" in ${path} must be an integer above 0`);
  }
  if (typeof file.characters !== "string" || file.characters === "") {
    throw modelLoadFailed(name, `"characters" in ${path} must be a string of the vocabulary`);
  }
  return file;
}

async function openSession(name: string, path: string, threads: number): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(path, {
      executionProviders: ["cpu"],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
    });
  } catch (error) {
    throw modelLoadFailed(name, messageOf(error), error);
  }
}

function checkPorts(
  name: string,
  session: InferenceSession,
  { layers, heads, headSize }: VocabularyFile,
  vocabularySize: number,
): void {
  const inputs = ["tokens", "lengths"];
  const outputs = ["logits"];
  for (let layer = 0; layer < layers; layer++) {
    inputs.push(`past_key_${layer}`, `past_value_${layer}`);
    outputs.push(`new_key_${layer}`, `new_value_${layer}`);
  }
  const missing = [
    ...inputs.filter((port) => !session.inputNames.includes(port)),
    ...outputs.filter((port) => !session.outputNames.includes(port)),
  ];
  if (missing.length > 0) throw modelLoadFailed(name, `the graph has no ${missing.join(", ")}`);
  const more = session.inputNames.filter((port) => !inputs.includes(port));
  if (more.length > 0) {
    throw modelLoadFailed(name, `the graph has inputs that nothing fills: ${more.join(", ")}`);
  }
  const check = (
    port: InferenceSession.ValueMetadata | undefined,
    axis: number,
    expected: number,
  ): void => {
    const given = port?.isTensor ? port.shape[axis] : undefined;
    if (typeof given === "number" && given !== expected) {
      const what = `dimension ${axis} of "${port?.name}" is ${given} in the graph`;
      throw modelLoadFailed(name, `${what}, and ${expected} by the vocabulary's file`);
    }
  };
  const key = session.inputMetadata[session.inputNames.indexOf("past_key_0")];
  check(key, 1, heads);
  check(key, 3, headSize);
  check(session.outputMetadata[session.outputNames.indexOf("logits")], 1, vocabularySize);
}

function tensorSession(session: InferenceSession): TensorSession {
  return {
    async run(inputs, outputNames) {
      const feeds: Record<string, OrtTensor> = {};
      for (const { name, datatype, shape, bytes } of inputs) {
        feeds[name] =
          datatype === "INT64"
            ? new OrtTensor("int64", viewTypedArray(name, datatype, bytes, shape), shape)
            : new OrtTensor("float32", viewTypedArray(name, "FP32", bytes!, shape), shape);
      }
      const answers = await session.run(feeds, outputNames);
      return outputNames.map((name) => {
        const { type, dims, data } = answers[name]!;
        if (type !== "float32") {
          throw new RangeError(`the graph gave "${name}" as ${type}, expected float32`);
        }
        return { name, datatype: "FP32", shape: dims, bytes: bytesOf(data as Float32Array) };
      });
    },
  };
}
