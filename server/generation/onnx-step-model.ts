import type { Tensor } from "../tensor/tensor.ts";
import { bytesOf, viewTypedArray } from "../tensor/typed-array.ts";
import { type CacheShape, KeyValueCache } from "./key-value-cache.ts";
import type { RowStep, StepModel } from "./step-model.ts";

/** Something that runs a graph. Inputs are views on memory that changes after the answer. */
export interface TensorSession {
  /** Computes the named outputs, in their order. */
  run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<readonly Tensor[]>;
}

/** A graph with a cache of keys and values, and how it is used. */
export interface OnnxStepModelOptions extends CacheShape {
  readonly session: TensorSession;
  readonly vocabularySize: number;
}

/**
 * A {@link StepModel} over a graph with these ports, for layers i from 0:
 *
 * | input | type | shape |
 * |---|---|---|
 * | tokens | INT64 | [rows, new] |
 * | lengths | INT64 | [rows]: cells of the cache that the row has filled |
 * | past_key_i, past_value_i | FP32 | [rows, heads, past, head size] |
 *
 * | output | type | shape |
 * |---|---|---|
 * | logits | FP32 | [rows, vocabulary]: after the last new token |
 * | new_key_i, new_value_i | FP32 | [rows, heads, new, head size]: for the cells after the filled ones |
 *
 * The graph must not look at cells from `lengths` on. It neither grows the cache nor answers it: the host
 * keeps it in place and writes the new cells itself, so a step moves what is new and nothing else.
 *
 * A step is one run for all rows that go on by one token, and one run for each that goes on by more.
 */
export function createOnnxStepModel(options: OnnxStepModelOptions): StepModel {
  const { session, vocabularySize, slots, layers, contextLength } = options;
  const cache = new KeyValueCache(options);
  const outputNames = ["logits"];
  for (let layer = 0; layer < layers; layer++) {
    outputNames.push(`new_key_${layer}`, `new_value_${layer}`);
  }

  /** Runs rows that go on by the same number of tokens, and stand side by side from `firstRow` on. */
  async function run(rows: readonly RowStep[], firstRow: number): Promise<Float32Array> {
    const count = rows.length;
    const added = rows[0]!.tokens.length;
    const tokens = new BigInt64Array(count * added);
    const lengths = new BigInt64Array(count);
    for (const { slot, tokens: of } of rows) {
      const row = cache.rowOf(slot) - firstRow;
      lengths[row] = BigInt(cache.lengthOf(slot));
      for (let index = 0; index < added; index++) tokens[row * added + index] = BigInt(of[index]!);
    }
    const inputs: Tensor[] = [
      { name: "tokens", datatype: "INT64", shape: [count, added], bytes: bytesOf(tokens) },
      { name: "lengths", datatype: "INT64", shape: [count], bytes: bytesOf(lengths) },
      ...cache.past(firstRow, count),
    ];
    const [logits, ...newCells] = await session.run(inputs, outputNames);
    const answer = floats(logits, [count, vocabularySize]);
    const cells = newCells.map((tensor) =>
      floats(tensor, [count, options.heads, added, options.headSize]),
    );
    if (cells.length !== 2 * layers) {
      throw new RangeError(`the graph gave ${cells.length + 1} outputs of ${outputNames.length}`);
    }
    cache.append(firstRow, count, added, cells);
    return answer;
  }

  return {
    slots,
    contextLength,
    vocabularySize,
    async step(rows) {
      const singles = rows.filter(({ tokens }) => tokens.length === 1);
      const answers = new Map<number, Float32Array | Error>();
      cache.reserve(rows);
      if (singles.length > 0) {
        cache.bringToFront(singles.map(({ slot }) => slot));
        const logits = await run(singles, 0);
        for (const { slot } of singles) {
          const row = cache.rowOf(slot);
          answers.set(slot, logits.subarray(row * vocabularySize, (row + 1) * vocabularySize));
        }
      }
      for (const row of rows) {
        if (row.tokens.length === 1) continue;
        try {
          answers.set(row.slot, await run([row], cache.rowOf(row.slot)));
        } catch (thrown) {
          // It ran alone, so the others have nothing to do with it.
          answers.set(row.slot, thrown instanceof Error ? thrown : new Error(String(thrown)));
        }
      }
      return rows.map(({ slot }) => answers.get(slot)!);
    },
    release: (slot) => cache.release(slot),
  };
}

function floats(tensor: Tensor | undefined, shape: readonly number[]): Float32Array {
  if (tensor?.datatype !== "FP32") {
    throw new RangeError(`the graph gave ${tensor?.datatype ?? "no output"}, expected FP32`);
  }
  return viewTypedArray(tensor.name, "FP32", tensor.bytes, shape);
}
