import { Tensor as OrtTensor } from "onnxruntime-node";
import { modelExecutionFailed } from "../../../errors/model-errors.ts";
import { tensorValueInvalid } from "../../../errors/tensor-errors.ts";
import type { Datatype } from "../../../tensor/datatype.ts";
import { narrowToBf16, widenBf16 } from "../../../tensor/half.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { bytesOf, type TypedArray, viewTypedArray } from "../../../tensor/typed-array.ts";
import type { GraphPort } from "./graph-plan.ts";

const ortTypes = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP16: "float16",
  FP32: "float32",
  FP64: "float64",
} as const;

const datatypes = new Map<string, Datatype>(
  Object.entries(ortTypes).map(([datatype, type]) => [type, datatype as Datatype]),
);

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * Makes the session's tensor of an input; shares memory where the contents are aligned.
 *
 * @throws TensorwireError `TENSOR_VALUE_INVALID` for a BYTES element that is not UTF-8: the
 * session's strings are JavaScript strings, which could not give those bytes back
 */
export function toOrtTensor(tensor: Tensor): OrtTensor {
  if (tensor.elements) {
    const strings = tensor.elements.map((element, index) =>
      decodeString(tensor.name, element, index),
    );
    return new OrtTensor("string", strings, tensor.shape);
  }
  if (tensor.datatype === "BF16")
    return new OrtTensor("float32", widenBf16(tensor.bytes), tensor.shape);
  const data = viewTypedArray(tensor.name, tensor.datatype, tensor.bytes, tensor.shape);
  if (tensor.datatype === "FP16") {
    // The constructor turns the patterns into a Float16Array where there is one, which the native
    // binding takes for empty; it reads a Uint16Array well.
    return Object.assign(new OrtTensor("uint16", data as Uint16Array, tensor.shape), {
      type: "float16",
    }) as OrtTensor;
  }
  // The constructor's overloads name one typed array a datatype; the union is checked above.
  return new OrtTensor(ortTypes[tensor.datatype], data as Float32Array, tensor.shape) as OrtTensor;
}

/** Reads an output of the session; the result shares the session tensor's memory, which it owns. */
export function fromOrtTensor(model: string, port: GraphPort, tensor: OrtTensor): Tensor {
  const shape = tensor.dims;
  if (tensor.type === "string") {
    const strings = tensor.data as string[];
    return {
      name: port.name,
      datatype: "BYTES",
      shape,
      elements: strings.map((s) => encoder.encode(s)),
    };
  }
  const given = datatypes.get(tensor.type);
  if (given === undefined || given === "BYTES" || given !== port.sessionDatatype) {
    throw modelExecutionFailed(
      model,
      `output "${port.name}" came as ${tensor.type}, declared is ${port.sessionDatatype}`,
    );
  }
  if (port.datatype === "BF16") {
    return {
      name: port.name,
      datatype: "BF16",
      shape,
      bytes: narrowToBf16(tensor.data as Float32Array),
    };
  }
  return { name: port.name, datatype: given, shape, bytes: bytesOf(tensor.data as TypedArray) };
}

function decodeString(tensor: string, element: Uint8Array, index: number): string {
  try {
    return strictUtf8.decode(element);
  } catch {
    // The decoder's own message says no more than this.
    throw tensorValueInvalid(
      tensor,
      index,
      "bytes that are not UTF-8",
      "UTF-8 text, as ONNX strings are",
    );
  }
}
