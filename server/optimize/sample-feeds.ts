import { Tensor as OrtTensor } from "onnxruntime-node";
import { modelUnsupported } from "../errors/model-errors.ts";
import { createNormal, createRandom } from "../random/random.ts";
import { numberToFp16 } from "../tensor/half.ts";
import { elementCount } from "../tensor/shape.ts";
import type { Feeds, RuntimePort } from "./runtime.ts";

/** What decides generated inputs. */
export interface GeneratedInputs {
  readonly seed: number;
  /** Size of the first dimension where the model leaves it open. */
  readonly rows: number;
  /** Shapes of inputs that have other open dimensions, which are 1 without it. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** Integers are smaller than this and not negative, as token ids and masks are. */
  readonly integersBelow: number;
}

/** Whether the first dimension of every input is open, so that rows can be put together. */
export function takesRows(inputs: readonly RuntimePort[]): boolean {
  return inputs.length > 0 && inputs.every(({ shape }) => shape[0] === -1);
}

/**
 * Makes inputs of the declared shapes: floats of the standard normal distribution, integers, truths.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` for an input that values cannot be made up for
 */
export function generateFeeds(
  model: string,
  inputs: readonly RuntimePort[],
  { seed, rows, shapes, integersBelow }: GeneratedInputs,
): Feeds {
  const random = createRandom(BigInt(seed));
  const normal = createNormal(random);
  const integer = (): number => Math.floor(random.next() * integersBelow);
  const feeds: Record<string, OrtTensor> = {};
  for (const { name, type, shape } of inputs) {
    const sized = shape.map((size, axis) =>
      size !== -1 ? size : axis === 0 ? rows : (shapes.get(name)?.[axis] ?? 1),
    );
    feeds[name] = generated(model, name, type, sized, normal, integer);
  }
  return feeds;
}

/**
 * Takes rows of feeds, over and over until there are enough.
 *
 * @param feeds - tensors that all have as many rows
 */
export function repeatRows(feeds: Feeds, rows: number): Feeds {
  const taken: Record<string, OrtTensor> = {};
  for (const [name, { type, data, dims }] of Object.entries(feeds)) {
    const given = dims[0] ?? 1;
    const rowSize = given === 0 ? 0 : data.length / given;
    const shape = [rows, ...dims.slice(1)];
    if (Array.isArray(data)) {
      const strings = Array.from(
        { length: rows * rowSize },
        (_, index) => data[index % (given * rowSize)] as string,
      );
      taken[name] = new OrtTensor("string", strings, shape);
      continue;
    }
    const source = data as Float32Array;
    const copy = new (source.constructor as typeof Float32Array)(rows * rowSize);
    for (let row = 0; row < rows; row++) {
      const from = (row % given) * rowSize;
      copy.set(source.subarray(from, from + rowSize), row * rowSize);
    }
    taken[name] = tensorOf(type, copy, shape);
  }
  return taken;
}

function generated(
  model: string,
  name: string,
  type: string | undefined,
  shape: readonly number[],
  normal: () => number,
  integer: () => number,
): OrtTensor {
  const length = elementCount(shape);
  switch (type) {
    case "float32":
      return tensorOf(type, Float32Array.from({ length }, normal), shape);
    case "float64":
      return tensorOf(type, Float64Array.from({ length }, normal), shape);
    case "float16":
      return tensorOf(
        type,
        Uint16Array.from({ length }, () => numberToFp16(normal())),
        shape,
      );
    case "int64":
      return tensorOf(
        type,
        BigInt64Array.from({ length }, () => BigInt(integer())),
        shape,
      );
    case "uint64":
      return tensorOf(
        type,
        BigUint64Array.from({ length }, () => BigInt(integer())),
        shape,
      );
    case "int32":
      return tensorOf(type, Int32Array.from({ length }, integer), shape);
    case "uint32":
      return tensorOf(type, Uint32Array.from({ length }, integer), shape);
    case "int16":
      return tensorOf(type, Int16Array.from({ length }, integer), shape);
    case "uint16":
      return tensorOf(type, Uint16Array.from({ length }, integer), shape);
    case "int8":
      return tensorOf(type, Int8Array.from({ length }, integer), shape);
    case "uint8":
      return tensorOf(type, Uint8Array.from({ length }, integer), shape);
    case "bool":
      return tensorOf(
        type,
        Uint8Array.from({ length }, () => (normal() < 0 ? 0 : 1)),
        shape,
      );
    default:
      throw modelUnsupported(
        model,
        `no values can be made up for input "${name}" of type ${type ?? "that is no tensor"}; give some with --input ${name}=@FILE`,
      );
  }
}

type ElementArray = Exclude<OrtTensor["data"], string[]>;

function tensorOf(type: string, data: ElementArray, shape: readonly number[]): OrtTensor {
  if (type === "float16") {
    // The constructor turns the patterns into a Float16Array where there is one, which the native
    // binding takes for empty; it reads a Uint16Array well.
    return Object.assign(new OrtTensor("uint16", data as Uint16Array, shape), { type });
  }
  // The type decides the array; the compiler cannot follow it through the union.
  return new OrtTensor(type as "float32", data as Float32Array, shape) as OrtTensor;
}
