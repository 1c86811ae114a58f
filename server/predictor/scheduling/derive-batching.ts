import { messageOf } from "../../errors/from-unknown.ts";
import { elementSize } from "../../tensor/datatype.ts";
import { elementCount } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DeclaredPort, EngineModel } from "../engines/engine.ts";
import { haveRows, joinRows } from "./batch-tensors.ts";
import { sameTensors } from "./same-tensors.ts";
import { sampleRows } from "./sample-rows.ts";

/** Whether rows of several calls may be computed in one run, and how many pay. */
export type DerivedBatching =
  | { readonly kind: "batched"; readonly maxRows: number }
  | { readonly kind: "alone"; readonly cause: AloneCause; readonly why: string };

/**
 * Why calls are not batched: rows are not independent of each other; it cannot be tried out; or a batch
 * takes about as long as its calls one after the other.
 */
export type AloneCause = "mixes rows" | "untried" | "does not pay";

/** Rows of a batch at most, where the configuration says nothing. */
const mostRows = 1024;
/** Rows of the larger of the two runs that are timed. */
const timedRows = 64;
/** A batch may take as many times as long as a single row before another row is not worth its wait. */
const worthwhileTimes = 4;
/** Inputs of a sample take at most so many bytes. */
const maxSampleBytes = 8 * 1024 * 1024;
/** Runs of a size of which the fastest counts, and the time in ms from which on there is no further. */
const timedRuns = 5;
const maxTimedMs = 50;

/**
 * Finds out by running the model whether its calls can be batched: each row of a batch must come out as
 * it does alone. A model that mixes rows (a normalisation over the batch, say), or that gives other values
 * each time, is not batched. How many rows pay follows from the times of 1 and of 64 rows: as many as
 * make a run four times as long as that of one.
 *
 * @param inputs - what the model takes, each with its rank if that is known
 */
export async function deriveBatching(
  engine: EngineModel,
  inputs: readonly DeclaredPort[],
): Promise<DerivedBatching> {
  const required = inputs.filter(({ optional }) => !optional);
  if (required.length === 0) return alone("untried", "it needs no input");
  const fixed = required.find(({ shape }) => shape?.[0] !== -1);
  if (fixed) return alone("mixes rows", `the first dimension of input "${fixed.name}" is not free`);
  const tooLarge = sizeOf(required) > maxSampleBytes;
  if (tooLarge) return alone("untried", `its rows are larger than ${maxSampleBytes} bytes`);
  try {
    return await tryOut(engine, required);
  } catch (error) {
    return alone("untried", `it fails on sample values: ${messageOf(error)}`);
  }
}

async function tryOut(
  engine: EngineModel,
  inputs: readonly DeclaredPort[],
): Promise<DerivedBatching> {
  const names = engine.outputs.map(({ name }) => name);
  const run = async (tensors: readonly Tensor[]): Promise<readonly Tensor[]> =>
    (await engine.run(tensors, names)).outputs;
  const singles = [0, 1, 2].map((row) => sampleRows(inputs, row, 1));
  const expected: (readonly Tensor[])[] = [];
  for (const single of singles) expected.push(await run(single));
  if (expected.some((outputs) => !haveRows(outputs, 1))) {
    return alone("mixes rows", "an output of one row has not one row");
  }
  // In another order too, so that what depends on the place shows.
  for (const order of [
    [0, 1],
    [2, 1, 0],
  ]) {
    const outputs = await run(joinRows(order.map((row) => singles[row]!)));
    if (!haveRows(outputs, order.length)) {
      return alone("mixes rows", `an output of ${order.length} rows has not as many`);
    }
    const wanted = joinRows(order.map((row) => expected[row]!));
    if (!sameTensors(outputs, wanted)) {
      return alone(
        "mixes rows",
        `a row comes out otherwise in a batch of ${order.length} than alone`,
      );
    }
  }
  const rows = Math.min(timedRows, Math.max(2, Math.floor(maxSampleBytes / sizeOf(inputs))));
  const one = await fastest(engine, singles[0]!, names);
  const many = await fastest(engine, sampleRows(inputs, 0, rows), names);
  const maxRows = worthwhileRows(one, many, rows);
  return maxRows > 1
    ? { kind: "batched", maxRows }
    : alone("does not pay", `${rows} rows take ${(many / one).toFixed(1)} times as long as one`);
}

/**
 * Rows with which a run takes {@link worthwhileTimes} times as long as with one, from 1 to 1024; time is
 * taken to grow linearly.
 *
 * @param one - time of one row
 * @param many - time of `rows` rows
 */
export function worthwhileRows(one: number, many: number, rows: number): number {
  const perRow = (many - one) / (rows - 1);
  // A row that costs nearly as much in a batch as alone gains nothing and waits for the others.
  if (perRow >= one / 2) return 1;
  if (perRow <= 0) return mostRows;
  return Math.min(mostRows, Math.floor(1 + ((worthwhileTimes - 1) * one) / perRow));
}

async function fastest(
  engine: EngineModel,
  inputs: readonly Tensor[],
  names: readonly string[],
): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  const begun = performance.now();
  for (let run = 0; run < timedRuns && performance.now() - begun < maxTimedMs; run++) {
    least = Math.min(least, (await engine.run(inputs, names)).inferNs);
  }
  return least;
}

/** Bytes of one row of all inputs, at least 1. */
function sizeOf(inputs: readonly DeclaredPort[]): number {
  let bytes = 0;
  for (const { datatype, shape } of inputs) {
    const rest = (shape ?? []).slice(1).map((size) => (size === -1 ? 1 : size));
    bytes += elementCount(rest) * Math.max(elementSize(datatype), 1);
  }
  return Math.max(bytes, 1);
}

function alone(cause: AloneCause, why: string): DerivedBatching {
  return { kind: "alone", cause, why };
}
