import { create } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { inputMissing, inputUnknown } from "../../errors/request-errors.ts";
import { joinBytesElements } from "../../tensor/bytes-elements.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import { decodeJsonData, jsonElements } from "../../tensor/json-data.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { responseTensors } from "./infer-codec.ts";
import { asObject, type JsonObject, malformed, member } from "./json-object.ts";

/** An input as the model's metadata gives it. */
export interface InputMetadata {
  readonly name: string;
  readonly datatype: string;
}

/** Whether rows or columns were sent, which is how the answer goes back. */
export type PredictForm = "instances" | "inputs";

/**
 * Reads the body of a v1 predict request: `instances` is a list of rows, `inputs` is the tensor, or
 * tensors by name. A row is a bare value for a model with one input, an object by name otherwise.
 * Datatypes are the model's, shapes follow from the nesting.
 *
 * @throws TensorwireError `REQUEST_MALFORMED`, `INPUT_MISSING`, `INPUT_UNKNOWN`, and what tensors can
 * be refused for
 */
export function decodePredict(
  model: string,
  body: JsonObject,
  inputs: readonly InputMetadata[],
): { readonly request: ModelInferRequest; readonly form: PredictForm } {
  const instances = member(body, "instances");
  const columns = member(body, "inputs");
  if ((instances === undefined) === (columns === undefined)) {
    throw malformed(
      'the body must have either "instances", a list of rows, or "inputs", columns by name',
    );
  }
  const form: PredictForm = instances === undefined ? "inputs" : "instances";
  const data =
    form === "instances"
      ? columnsOfRows(model, instances, inputs)
      : columnsByName(model, columns, inputs);
  const tensors = inputs
    .filter(({ name }) => data.has(name))
    .map(({ name, datatype }) => {
      if (!isDatatype(datatype))
        throw new Error(`input "${name}" has the unknown datatype ${datatype}`);
      const column = data.get(name);
      return decodeJsonData(name, datatype, shapeOf(column), column);
    });
  return {
    form,
    request: create(ModelInferRequestSchema, {
      modelName: model,
      inputs: tensors.map(({ name, datatype, shape }) => ({
        name,
        datatype,
        shape: shape.map(BigInt),
      })),
      rawInputContents: tensors.map((tensor) => tensor.bytes ?? joinBytesElements(tensor.elements)),
    }),
  };
}

function columnsOfRows(
  model: string,
  instances: unknown,
  inputs: readonly InputMetadata[],
): Map<string, unknown> {
  if (!Array.isArray(instances)) throw malformed('"instances" must be a list of rows');
  const only = inputs.length === 1 ? inputs[0]!.name : undefined;
  const columns = new Map<string, unknown[]>();
  for (const [index, row] of instances.entries()) {
    const bare =
      only !== undefined && (typeof row !== "object" || row === null || Array.isArray(row));
    const fields = bare ? { [only]: row as unknown } : asObject(row, `row ${index} of "instances"`);
    checkNames(model, Object.keys(fields), inputs);
    for (const { name } of inputs) {
      const column = columns.get(name) ?? [];
      if (Object.hasOwn(fields, name)) column.push(fields[name]);
      columns.set(name, column);
    }
  }
  for (const [name, column] of columns) {
    if (column.length === 0) columns.delete(name);
    else if (column.length !== instances.length) {
      throw malformed(
        `input "${name}" is in ${column.length} of ${instances.length} rows; give it in all or none`,
      );
    }
  }
  return columns;
}

function columnsByName(
  model: string,
  given: unknown,
  inputs: readonly InputMetadata[],
): Map<string, unknown> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    if (inputs.length !== 1) {
      const names = inputs.map(({ name }) => name);
      throw inputMissing(model, [], names, names);
    }
    return new Map([[inputs[0]!.name, given]]);
  }
  checkNames(model, Object.keys(given), inputs);
  return new Map(Object.entries(given));
}

function checkNames(
  model: string,
  given: readonly string[],
  inputs: readonly InputMetadata[],
): void {
  const known = inputs.map(({ name }) => name);
  const unknown = given.find((name) => !known.includes(name));
  if (unknown !== undefined) throw inputUnknown(model, unknown, known);
}

/** Shape that follows from the first element of each level; the decoder checks the others. */
function shapeOf(data: unknown): number[] {
  const shape: number[] = [];
  for (let level = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

/**
 * Writes the answer: `predictions` by rows if rows came, else `outputs` whole. With one output its
 * values stand bare, with several in objects by name.
 */
export function encodePredict(response: ModelInferResponse, form: PredictForm): string {
  const tensors = responseTensors(response);
  if (form === "inputs") {
    const texts = tensors.map((tensor) => nested(jsonElements(tensor), tensor.shape));
    return `{"outputs":${tensors.length === 1 ? texts[0] : byName(tensors, texts)}}`;
  }
  const rows = tensors[0]?.shape[0] ?? 0;
  const columns = tensors.map((tensor) => rowTexts(tensor, rows));
  const texts = Array.from({ length: rows }, (_, row) => {
    const values = columns.map((column) => column[row] ?? "null");
    return tensors.length === 1 ? values[0] : byName(tensors, values);
  });
  return `{"predictions":[${texts.join(",")}]}`;
}

function byName(tensors: readonly Tensor[], values: readonly string[]): string {
  return `{${tensors.map(({ name }, index) => `${JSON.stringify(name)}:${values[index]}`).join(",")}}`;
}

function rowTexts(tensor: Tensor, rows: number): string[] {
  const elements = jsonElements(tensor);
  if (tensor.shape.length === 0 || tensor.shape[0] !== rows) {
    // An output without the rows of the others belongs to each of them.
    return new Array<string>(rows).fill(nested(elements, tensor.shape));
  }
  const rowShape = tensor.shape.slice(1);
  const width = elements.length / Math.max(rows, 1);
  return Array.from({ length: rows }, (_, row) =>
    nested(elements.slice(row * width, (row + 1) * width), rowShape),
  );
}

function nested(elements: readonly string[], shape: readonly number[]): string {
  if (shape.length === 0) return elements[0] ?? "null";
  const [length = 0, ...rest] = shape;
  const width = elements.length / Math.max(length, 1);
  const parts = Array.from({ length }, (_, index) =>
    nested(elements.slice(index * width, (index + 1) * width), rest),
  );
  return `[${parts.join(",")}]`;
}
