import { messageOf } from "../errors/from-unknown.ts";
import { modelExecutionFailed, modelUnsupported } from "../errors/model-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { measureAlternately } from "./measure-speed.ts";
import { OutputComparison, type OutputDifference } from "./output-difference.ts";
import type { Feeds, RuntimeModel } from "./runtime.ts";
import { generateFeeds, repeatRows, takesRows } from "./sample-feeds.ts";

/** What models are run with. */
export interface SampleOptions {
  /** Inputs of the caller; those that are not among them are made up. */
  readonly given: Feeds;
  /** Shapes of made up inputs that have open dimensions besides the first. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Decides made up inputs. */
  readonly seed: number;
  /** Rows of the larger batch, for models that take rows. */
  readonly batch: number;
}

/** Inputs to compare answers with, and to measure speed with. */
export interface Samples {
  readonly compared: readonly Feeds[];
  /** `rows` is `undefined` where the model takes inputs of one size. */
  readonly timed: readonly { readonly rows: number | undefined; readonly feeds: Feeds }[];
}

/** Time of a run before and after. */
export interface Speed {
  /** `undefined` where the model takes inputs of one size. */
  readonly rows: number | undefined;
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** Made up inputs of one row, or of the only size that the model takes. */
const singleSamples = 4;

/** Bounds of made up integers, tried in this order: token ids first, masks last. */
const integerBounds = [100, 2];

/**
 * Gathers what a model is run with, and tries each of it on the original.
 *
 * @throws TensorwireError `MODEL_EXECUTION_FAILED` if the model cannot run on it
 */
export async function gatherSamples(
  name: string,
  model: RuntimeModel,
  options: SampleOptions,
): Promise<Samples> {
  const { given, batch } = options;
  if (model.inputs.every((input) => given[input.name])) {
    const samples = givenSamples(model, given, batch);
    for (const feeds of samples.compared) await model.run(feeds);
    return samples;
  }
  let failure: unknown;
  for (const integersBelow of integerBounds) {
    const samples = generatedSamples(name, model, options, integersBelow);
    try {
      for (const feeds of samples.compared) await model.run(feeds);
      return samples;
    } catch (error) {
      // What is not the runtime's word on these inputs would be the same on any.
      if (!(error instanceof TensorwireError) || error.reason !== "MODEL_EXECUTION_FAILED")
        throw error;
      failure ??= error.cause;
    }
  }
  throw modelExecutionFailed(
    name,
    `it was made up, and the runtime says: ${messageOf(failure).trim()}; give inputs that it takes with --input NAME=@FILE, or the sizes of open dimensions with --shape NAME=1,3,224,224`,
    failure,
  );
}

function givenSamples({ inputs }: RuntimeModel, given: Feeds, batch: number): Samples {
  const counts = new Set(Object.values(given).map(({ dims }) => dims[0] ?? 0));
  const [rows = 0] = counts;
  if (!takesRows(inputs) || counts.size > 1 || rows === 0)
    return { compared: [given], timed: [{ rows: undefined, feeds: given }] };
  const one = repeatRows(given, 1);
  return {
    compared: rows === 1 ? [given] : [given, one],
    timed: timedRows(batch, (count) => repeatRows(given, count)),
  };
}

function generatedSamples(
  name: string,
  { inputs }: RuntimeModel,
  { given, shapes, seed, batch }: SampleOptions,
  integersBelow: number,
): Samples {
  const open = inputs.filter((input) => !given[input.name]);
  // What is given beside what is made up, such as a sampling rate, must not have rows of its own.
  const rowless = inputs.every((input) => !given[input.name] || input.shape[0] !== -1);
  const make = (offset: number, rows: number): Feeds => ({
    ...generateFeeds(name, open, { seed: seed + offset, rows, shapes, integersBelow }),
    ...given,
  });
  const single = Array.from({ length: singleSamples }, (_, index) => make(index, 1));
  if (!takesRows(open) || !rowless)
    return { compared: single, timed: [{ rows: undefined, feeds: single[0]! }] };
  const many = make(singleSamples, batch);
  return {
    compared: [...single, many],
    timed: timedRows(batch, (rows) => (rows === 1 ? single[0]! : many)),
  };
}

function timedRows(batch: number, take: (rows: number) => Feeds): Samples["timed"] {
  return [...new Set([1, batch])].map((rows) => ({ rows, feeds: take(rows) }));
}

/** Names of outputs that cannot be compared, as they are no tensors. */
export function incomparableOutputs({ outputs }: RuntimeModel): string[] {
  return outputs.filter(({ type }) => type === undefined).map(({ name }) => name);
}

/**
 * Runs two models on the same inputs and compares their answers.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` if no output is a tensor, `MODEL_EXECUTION_FAILED`
 */
export async function compareModels(
  name: string,
  original: RuntimeModel,
  other: RuntimeModel,
  samples: Samples,
): Promise<OutputDifference[]> {
  const outputs = original.outputs.filter(({ type }) => type !== undefined);
  if (outputs.length === 0) {
    throw modelUnsupported(
      name,
      "none of its outputs is a tensor, so the optimized model could not be compared with it; export it with tensors as outputs (ZipMap off)",
    );
  }
  const comparisons = new Map(
    outputs.map(({ name: output }) => [output, new OutputComparison(output)]),
  );
  for (const feeds of samples.compared) {
    const expected = await original.run(feeds);
    const given = await other.run(feeds);
    for (const [output, comparison] of comparisons)
      comparison.add(expected[output]!, given[output]!);
  }
  return [...comparisons.values()].map((comparison) => comparison.result());
}

/** Measures two models by turns, at every size of the samples. */
export async function compareSpeed(
  original: RuntimeModel,
  other: RuntimeModel,
  samples: Samples,
  budgetMs: number,
): Promise<Speed[]> {
  const speeds: Speed[] = [];
  for (const { rows, feeds } of samples.timed) {
    const [beforeMs, afterMs] = await measureAlternately(
      [() => original.run(feeds), () => other.run(feeds)],
      budgetMs / samples.timed.length,
    );
    speeds.push({ rows, beforeMs: beforeMs!, afterMs: afterMs! });
  }
  return speeds;
}
