import { type GraphProto, type TensorProto, TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import { elementCount } from "../tensor/shape.ts";

/** A 32-bit float value of the main graph that no call can change. */
export interface FloatConstant {
  readonly name: string;
  readonly shape: readonly number[];
  /** Row-major; may be a view on the model's bytes. */
  readonly values: Float32Array;
}

/**
 * Finds the constants of a graph: initializers that are not the default of an input, and the outputs of
 * Constant nodes.
 *
 * @returns constants by name; those whose contents do not fit their shape are left out
 */
export function floatConstants(graph: GraphProto): Map<string, FloatConstant> {
  const inputs = new Set(graph.input.map(({ name }) => name));
  const constants = new Map<string, FloatConstant>();
  for (const tensor of graph.initializer) {
    const constant = inputs.has(tensor.name) ? undefined : floatTensor(tensor.name, tensor);
    if (constant) constants.set(tensor.name, constant);
  }
  for (const node of graph.node) {
    const name = node.output[0];
    if (node.opType !== "Constant" || node.domain !== "" || name === undefined) continue;
    for (const { name: kind, t, f, floats } of node.attribute) {
      if (kind === "value" && t) {
        const constant = floatTensor(name, t);
        if (constant) constants.set(name, constant);
      } else if (kind === "value_float") {
        constants.set(name, { name, shape: [], values: Float32Array.of(f) });
      } else if (kind === "value_floats") {
        constants.set(name, { name, shape: [floats.length], values: Float32Array.from(floats) });
      }
    }
  }
  return constants;
}

/** Removes constants that nothing reads, wherever the graph keeps them. */
export function dropConstants(graph: GraphProto, names: ReadonlySet<string>): void {
  graph.initializer = graph.initializer.filter((tensor) => !names.has(tensor.name));
  graph.node = graph.node.filter(
    ({ opType, domain, output }) =>
      opType !== "Constant" || domain !== "" || !names.has(output[0] ?? ""),
  );
  graph.valueInfo = graph.valueInfo.filter(({ name }) => !names.has(name));
}

/** Contents of a FLOAT tensor; `undefined` if it is none, or has another size than its shape says. */
export function floatTensor(name: string, tensor: TensorProto): FloatConstant | undefined {
  if (tensor.dataType !== TensorProto_DataType.FLOAT) return undefined;
  const shape = tensor.dims.map(Number);
  const values = contents(tensor);
  return values.length === elementCount(shape) ? { name, shape, values } : undefined;
}

function contents({ rawData, floatData }: TensorProto): Float32Array {
  if (rawData.byteLength === 0) return Float32Array.from(floatData);
  const aligned = rawData.byteOffset % 4 === 0 ? rawData : new Uint8Array(rawData);
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
}
