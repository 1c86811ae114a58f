import { elementSize } from "../../tensor/datatype.ts";
import { elementCount } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DeclaredPort } from "../engines/engine.ts";

/** Rows of the further samples of a model whose first dimension is free. */
const moreRows = [64, 4096];
/** Inputs of a further sample take at most this much in all. */
const maxFurtherBytes = 1024 * 1024;
/** Inputs larger than this in all are not made up. */
const maxSampleBytes = 64 * 1024 * 1024;

/**
 * Inputs of zeros and empty strings to warm a model up with: one with every free dimension 1, and if
 * the first dimension of all inputs is free, one with 64 and one with 4096 rows, as far as the model
 * takes them and they are no larger than 1 MiB. None if the inputs would be larger than 64 MiB, or
 * have no declared rank.
 *
 * @param maxRows - rows that the model takes at once; 0 for any number
 */
export function madeSamples(inputs: readonly DeclaredPort[], maxRows: number): Tensor[][] {
  const required = inputs.filter((input) => !input.optional);
  if (required.some((input) => input.shape === undefined)) return [];
  const small = required.map((input) => zeros(input, 1));
  const samples = sizeOf(small) <= maxSampleBytes ? [small.map(fill)] : [];
  const batched = required.length > 0 && required.every((input) => input.shape?.[0] === -1);
  for (const rows of batched ? moreRows : []) {
    const blanks = required.map((input) => zeros(input, rows));
    const fits = (maxRows === 0 || rows <= maxRows) && sizeOf(blanks) <= maxFurtherBytes;
    if (fits) samples.push(blanks.map(fill));
  }
  return samples;
}

interface Blank {
  readonly port: DeclaredPort;
  readonly shape: readonly number[];
}

function zeros(port: DeclaredPort, rows: number): Blank {
  const shape = (port.shape ?? []).map((dimension, axis) =>
    dimension === -1 ? (axis === 0 ? rows : 1) : dimension,
  );
  return { port, shape };
}

function sizeOf(blanks: readonly Blank[]): number {
  return blanks.reduce(
    (sum, { port, shape }) => sum + elementCount(shape) * Math.max(elementSize(port.datatype), 1),
    0,
  );
}

function fill({ port, shape }: Blank): Tensor {
  const { name, datatype } = port;
  const count = elementCount(shape);
  return datatype === "BYTES"
    ? { name, datatype, shape, elements: Array.from({ length: count }, () => new Uint8Array()) }
    : { name, datatype, shape, bytes: new Uint8Array(count * elementSize(datatype)) };
}
