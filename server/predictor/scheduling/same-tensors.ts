import { bf16ToNumber, fp16ToNumber } from "../../tensor/half.ts";
import type { FixedSizeTensor, Tensor } from "../../tensor/tensor.ts";

/** Differences that another order of summation makes: relative, and near zero absolute. */
const relative = 1e-3;
const absolute = 1e-5;

/** Whether two lists of tensors hold the same values; floats may differ a little. */
export function sameTensors(one: readonly Tensor[], other: readonly Tensor[]): boolean {
  return one.length === other.length && one.every((tensor, index) => same(tensor, other[index]!));
}

function same(one: Tensor, other: Tensor): boolean {
  if (one.datatype !== other.datatype || one.shape.length !== other.shape.length) return false;
  if (one.shape.some((size, axis) => size !== other.shape[axis])) return false;
  if (one.datatype === "BYTES" || other.datatype === "BYTES") {
    const [a, b] = [one.elements ?? [], other.elements ?? []];
    return a.length === b.length && a.every((element, at) => Buffer.compare(element, b[at]!) === 0);
  }
  const numbers = floatReaders[one.datatype];
  if (!numbers) return Buffer.compare(one.bytes, other.bytes) === 0;
  const [a, b] = [numbers(one), numbers(other)];
  return a.length === b.length && a.every((value, at) => near(value, b[at]!));
}

function near(a: number, b: number): boolean {
  if (Object.is(a, b) || a === b) return true;
  return Math.abs(a - b) <= absolute + relative * Math.abs(b);
}

/** Values of the datatypes whose sums depend on their order. */
const floatReaders: Readonly<Record<string, (tensor: FixedSizeTensor) => readonly number[]>> = {
  FP64: (tensor) => read(tensor, 8, (view, at) => view.getFloat64(at, true)),
  FP32: (tensor) => read(tensor, 4, (view, at) => view.getFloat32(at, true)),
  FP16: (tensor) => read(tensor, 2, (view, at) => fp16ToNumber(view.getUint16(at, true))),
  BF16: (tensor) => read(tensor, 2, (view, at) => bf16ToNumber(view.getUint16(at, true))),
};

function read(
  { bytes }: FixedSizeTensor,
  size: number,
  value: (view: DataView, at: number) => number,
): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / size }, (_, index) => value(view, index * size));
}
