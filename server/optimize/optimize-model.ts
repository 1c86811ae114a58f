import { messageOf } from "../errors/from-unknown.ts";
import { modelUnsupported } from "../errors/model-errors.ts";
import { optimizationWithoutEffect } from "../errors/optimize-errors.ts";
import {
  compareModels,
  compareSpeed,
  gatherSamples,
  incomparableOutputs,
  type SampleOptions,
  type Samples,
  type Speed,
} from "./assess.ts";
import { halveGraph } from "./half-graph.ts";
import { measureAlternately } from "./measure-speed.ts";
import { readOnnxFile } from "./onnx-file.ts";
import { type GraphLevel, optimizeGraph } from "./optimize-graph.ts";
import type { OutputDifference } from "./output-difference.ts";
import {
  type CodeType,
  type LeftNode,
  type QuantizedModel,
  quantizeGraph,
} from "./quantize-graph.ts";
import { type Feeds, openInRuntime, type RuntimeModel, type RuntimePort } from "./runtime.ts";
import { surveyValues } from "./value-survey.ts";

/** What is done to a model. */
export interface Optimization {
  readonly graph: GraphLevel | "none";
  readonly quantize: CodeType | "none";
  /** Whether convolutions are quantized: `auto` measures both and takes the faster. */
  readonly convolutions: "auto" | "always" | "never";
  readonly precision: "fp32" | "fp16";
  /** Operators and nodes that stay in 32 bits besides those that must. */
  readonly keepFp32: ReadonlySet<string>;
}

/** How it is checked. */
export interface Assessment extends Omit<SampleOptions, "given"> {
  /** Gives inputs for what the model declares; the others are made up. */
  readonly given: (inputs: readonly RuntimePort[]) => Feeds;
  /** Threads for one operator. */
  readonly threads: number;
  /** Time for measuring speed; 0 measures none. */
  readonly measureMs: number;
}

/** A model and how it compares with the one that it was made of. */
export interface OptimizedModel {
  readonly bytes: Uint8Array;
  readonly bytesBefore: number;
  /** What was done, a sentence each. */
  readonly changes: readonly string[];
  readonly left: readonly LeftNode[];
  readonly differences: readonly OutputDifference[];
  /** Outputs that are no tensors. */
  readonly incomparable: readonly string[];
  /** Empty if none was measured. */
  readonly speeds: readonly Speed[];
}

/** Time to find the faster of two candidates, if no more is given to measure speed. */
const minRaceMs = 200;

/** A model on its way. */
interface Draft {
  bytes: Uint8Array;
  readonly changes: string[];
  readonly left: LeftNode[];
}

/**
 * Optimizes a model, runs it beside the original, and tells how they differ. Order: the graph with
 * standard operators, 8-bit weights, 16-bit floats, then the graph with the runtime's own operators.
 *
 * @param name - of the model, for messages
 * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_UNSUPPORTED`, `MODEL_EXECUTION_FAILED`,
 * `OPTIMIZATION_WITHOUT_EFFECT`
 */
export async function optimizeModel(
  name: string,
  bytes: Uint8Array,
  optimization: Optimization,
  assessment: Assessment,
): Promise<OptimizedModel> {
  // Refuses what cannot be changed, in words of our own, before the runtime does in its words.
  readOnnxFile(name, bytes);
  const original = await openInRuntime(name, bytes, { threads: assessment.threads });
  try {
    const given = assessment.given(original.inputs);
    const samples = await gatherSamples(name, original, { ...assessment, given });
    const draft: Draft = { bytes, changes: [], left: [] };
    const { graph } = optimization;
    if (graph !== "none") await rewriteGraph(name, draft, "basic");
    if (optimization.quantize !== "none")
      await quantize(name, draft, optimization.quantize, optimization, assessment, samples);
    if (optimization.precision === "fp16") await halve(name, draft, optimization.keepFp32, samples);
    if (graph === "extended" || graph === "all") await rewriteGraph(name, draft, graph);
    return await assess(name, bytes, draft, original, samples, assessment);
  } finally {
    await original.release();
  }
}

/** The output that differs most; `undefined` if none differs. */
export function worstDifference(
  differences: readonly OutputDifference[],
): OutputDifference | undefined {
  return differences.reduce<OutputDifference | undefined>(
    (worst, each) => (each.relative > (worst?.relative ?? 0) ? each : worst),
    undefined,
  );
}

async function rewriteGraph(name: string, draft: Draft, level: GraphLevel): Promise<void> {
  const before = nodeCount(name, draft.bytes);
  draft.bytes = await optimizeGraph(name, draft.bytes, level);
  const after = nodeCount(name, draft.bytes);
  draft.changes.push(`graph rewritten (${level}): ${before} nodes before, ${after} after`);
}

function nodeCount(name: string, bytes: Uint8Array): number {
  return readOnnxFile(name, bytes).graph.node.length;
}

async function quantize(
  name: string,
  draft: Draft,
  codeType: CodeType,
  { convolutions }: Optimization,
  assessment: Assessment,
  samples: Samples,
): Promise<void> {
  let chosen = quantizeGraph(
    name,
    draft.bytes,
    codeType,
    convolutions === "never" ? "left" : "quantized",
  );
  let race = "";
  if (convolutions === "auto" && chosen.quantized.has("Conv")) {
    const without = quantizeGraph(name, draft.bytes, codeType, "left");
    const [withMs, withoutMs] = await raceModels(name, chosen, without, assessment, samples);
    const kept = withMs <= withoutMs;
    race = `convolutions ${kept ? "quantized" : "left"}: a run takes ${withMs.toPrecision(3)} ms with 8-bit convolutions, ${withoutMs.toPrecision(3)} ms without (--quantize-conv always takes them for their size)`;
    if (!kept) chosen = without;
  }
  if (chosen.quantized.size === 0) {
    throw optimizationWithoutEffect(
      name,
      chosen.left.length === 0
        ? "it has no MatMul, Gemm or Conv, which are what can be quantized"
        : `nothing of it is quantized: ${race === "" ? "" : `${race}; `}${leftText(chosen.left)}`,
    );
  }
  if (race !== "") draft.changes.push(race);
  const counts = [...chosen.quantized].map(([operator, count]) => `${count} ${operator}`);
  draft.changes.push(
    `weights of ${counts.join(", ")} quantized to ${codeType}; the rows of a call share the scale of their inputs, so the server does not batch calls of this model`,
  );
  draft.bytes = chosen.bytes;
  draft.left.push(...chosen.left);
}

async function halve(
  name: string,
  draft: Draft,
  keep: ReadonlySet<string>,
  { compared }: Samples,
): Promise<void> {
  const survey = await surveyValues(name, draft.bytes, compared);
  const { bytes, converted, left } = halveGraph(name, draft.bytes, survey, keep);
  if (converted === 0) {
    throw optimizationWithoutEffect(
      name,
      left.length === 0
        ? "it computes with no 32-bit floats"
        : `all that computes with floats stays in 32 bits: ${leftText(left)}`,
    );
  }
  draft.bytes = bytes;
  draft.changes.push(`${converted} nodes compute in 16-bit floats`);
  draft.left.push(...left);
}

/** Measures two candidates at the largest size of the samples. */
async function raceModels(
  name: string,
  first: QuantizedModel,
  second: QuantizedModel,
  { threads, measureMs }: Assessment,
  samples: Samples,
): Promise<[number, number]> {
  const feeds = samples.timed.at(-1)?.feeds ?? {};
  const models: RuntimeModel[] = [];
  try {
    for (const { bytes } of [first, second])
      models.push(await openInRuntime(name, bytes, { threads }));
    const times = await measureAlternately(
      models.map((model) => () => model.run(feeds)),
      Math.max(measureMs, minRaceMs),
    );
    return [times[0]!, times[1]!];
  } finally {
    for (const model of models) await model.release();
  }
}

async function assess(
  name: string,
  before: Uint8Array,
  { bytes, changes, left }: Draft,
  original: RuntimeModel,
  samples: Samples,
  { threads, measureMs }: Assessment,
): Promise<OptimizedModel> {
  const optimized = await openOptimized(name, bytes, threads);
  try {
    return {
      bytes,
      bytesBefore: before.byteLength,
      changes,
      left,
      differences: await compareModels(name, original, optimized, samples),
      incomparable: incomparableOutputs(original),
      speeds: measureMs > 0 ? await compareSpeed(original, optimized, samples, measureMs) : [],
    };
  } finally {
    await optimized.release();
  }
}

async function openOptimized(
  name: string,
  bytes: Uint8Array,
  threads: number,
): Promise<RuntimeModel> {
  try {
    return await openInRuntime(name, bytes, { threads });
  } catch (error) {
    throw modelUnsupported(
      name,
      `ONNX Runtime refuses the optimized model: ${messageOf((error as Error).cause)}; change less, or name the operator with --keep-fp32 if --precision fp16 changed it`,
    );
  }
}

/** The reasons for which nodes were left, each once with how many it holds for. */
export function leftText(left: readonly LeftNode[]): string {
  const counts = Map.groupBy(left, ({ operator, why }) => `${operator}: ${why}`);
  return [...counts].map(([text, nodes]) => `${nodes.length} ${text}`).join("; ");
}
