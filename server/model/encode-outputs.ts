import type { InputTensor } from "../../clients/typescript/src/infer-request.ts";
import { elementSize } from "../tensor/datatype.ts";
import { elementCount, shapeMatches, shapeText } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import type { ThreadPort } from "./thread-messages.ts";

/**
 * Takes what `infer` gave as tensors in the order of the names, and holds it against the definition.
 *
 * @throws Error that says which output is wrong, and how
 */
export function encodeOutputs(
  ports: readonly ThreadPort[],
  outputNames: readonly string[],
  given: unknown,
): Tensor[] {
  if (typeof given !== "object" || given === null) {
    throw new Error(
      `infer gave ${given === null ? "null" : typeof given}, expected outputs by name`,
    );
  }
  const outputs = given as Readonly<Record<string, InputTensor | undefined>>;
  for (const name of Object.keys(outputs)) {
    if (!ports.some((port) => port.name === name)) {
      throw new Error(`infer gave output "${name}", which the definition does not have`);
    }
  }
  return outputNames.map((name) => {
    const port = ports.find((each) => each.name === name)!;
    const tensor = outputs[name];
    if (tensor === undefined) throw new Error(`infer gave no output "${name}"`);
    return encode(port, tensor);
  });
}

function encode(port: ThreadPort, tensor: InputTensor): Tensor {
  const { name, datatype } = port;
  const wrong = (what: string): Error =>
    new Error(
      `infer gave output "${name}" ${what}; make it with tensor(shape, data, "${datatype}")`,
    );
  if (tensor.datatype !== datatype) throw wrong(`of ${tensor.datatype}, declared as ${datatype}`);
  const { shape } = tensor;
  if (!Array.isArray(shape)) throw wrong("without a shape");
  if (!shapeMatches(shape, port.shape)) {
    throw wrong(`of shape ${shapeText(shape)}, declared as ${shapeText(port.shape)}`);
  }
  const count = elementCount(shape);
  if (tensor.datatype === "BYTES") {
    const { bytes } = tensor;
    if (!Array.isArray(bytes) || bytes.length !== count) {
      throw wrong(`of ${bytes?.length} elements, its shape has ${count}`);
    }
    return { name, datatype: "BYTES", shape, elements: bytes };
  }
  const { data } = tensor;
  if (!ArrayBuffer.isView(data) || data.BYTES_PER_ELEMENT !== elementSize(tensor.datatype)) {
    throw wrong(`with data that is not the typed array of ${datatype}`);
  }
  if (data.length !== count) throw wrong(`of ${data.length} elements, its shape has ${count}`);
  return { name, datatype: tensor.datatype, shape, bytes: bytesOf(data) };
}
