import { type InputTensor, type ModelMetadata, tensor } from "../../clients/typescript/src/node.ts";
import { nearestName } from "../config/nearest-name.ts";
import { Problems } from "../config/problems.ts";
import { type Datatype, isDatatype } from "../tensor/datatype.ts";
import { decodeJsonData } from "../tensor/json-data.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { viewTypedArray } from "../tensor/typed-array.ts";
import { type DeclaredInput, type ReadBytes, readInputValue, splitInput } from "./input-value.ts";

/**
 * Turns `NAME=VALUE` texts into the inputs of a model.
 *
 * @throws TensorwireError `SETTING_INVALID` for an input that cannot be read or that the model does not
 * have; what tensors can be refused for otherwise
 */
export function inferInputs(
  model: ModelMetadata,
  texts: readonly string[],
  readBytes: ReadBytes,
): Record<string, InputTensor> {
  const problems = new Problems();
  const inputs: Record<string, InputTensor> = {};
  for (const text of texts) {
    const parts = splitInput(text);
    if (!parts) {
      problems.push(`flag --input: got ${JSON.stringify(text)}, expected NAME=VALUE`);
      continue;
    }
    const { name, value } = parts;
    const declared = model.inputs.find((input) => input.name === name);
    if (!declared) {
      const names = model.inputs.map((input) => input.name);
      const near = nearestName(name, names);
      problems.push(
        `flag --input: model "${model.name}" has no input "${name}"; ${near === undefined ? `it has ${names.join(", ")}` : `did you mean ${near}?`}`,
      );
    } else if (!isDatatype(declared.datatype)) {
      problems.push(`flag --input: input "${name}" has the unknown datatype ${declared.datatype}`);
    } else {
      inputs[name] = inputTensor({ ...declared, datatype: declared.datatype }, value, readBytes);
    }
  }
  problems.throwIfAny();
  return inputs;
}

function inputTensor(declared: DeclaredInput, text: string, readBytes: ReadBytes): InputTensor {
  const { name, datatype } = declared;
  const value = readInputValue(declared, text, readBytes);
  if (value.kind === "json")
    return sendable(decodeJsonData(name, datatype, value.shape, value.data));
  const given = sendable({ name, ...value.array });
  return given.datatype === datatype ? given : converted(given, datatype);
}

/** NumPy makes doubles of what nobody typed, so values are converted where that loses nothing. */
function converted(given: InputTensor, datatype: Datatype): InputTensor {
  if (given.datatype === "BYTES") return given;
  const { shape } = given;
  const values = tensor(shape, given.data, given.datatype).toArray();
  return tensor(shape, values, datatype);
}

function sendable({ name, datatype, shape, bytes, elements }: Tensor): InputTensor {
  if (elements) return { datatype: "BYTES", shape, bytes: elements };
  // The datatype decides the array; the compiler cannot follow it through the union.
  return { datatype, shape, data: viewTypedArray(name, datatype, bytes, shape) } as InputTensor;
}
