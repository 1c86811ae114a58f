import { create } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { inputMissing, inputUnknown } from "../../errors/request-errors.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import { decodeJsonRaw, jsonRanges } from "../../tensor/json-data.ts";
import { elementCount, shapeText } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { responseTensors } from "./infer-codec.ts";
import { asObject, type JsonObject, malformed, member } from "./json-object.ts";

/** An input as the model's metadata gives it. */
export interface InputMetadata {
  readonly name: string;
  readonly datatype: string;
}

/** How the inputs came, which is how the answer goes back: rows, and how many, or columns. */
export type PredictForm =
  | { readonly kind: "instances"; readonly rows: number }
  | { readonly kind: "inputs" };

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
  const { form, data } =
    instances === undefined
      ? { form: { kind: "inputs" } as const, data: columnsByName(model, columns, inputs) }
      : columnsOfRows(model, instances, inputs);
  const given = inputs.filter(({ name }) => data.has(name));
  const shapes = given.map(({ name }) => shapeOf(data.get(name)));
  return {
    form,
    request: create(ModelInferRequestSchema, {
      modelName: model,
      inputs: given.map(({ name, datatype }, index) => ({
        name,
        datatype,
        shape: shapes[index]!.map(BigInt),
      })),
      rawInputContents: given.map(({ name, datatype }, index) => {
        if (!isDatatype(datatype))
          throw new Error(`input "${name}" has the unknown datatype ${datatype}`);
        return decodeJsonRaw(name, datatype, shapes[index]!, data.get(name));
      }),
    }),
  };
}

function columnsOfRows(
  model: string,
  instances: unknown,
  inputs: readonly InputMetadata[],
): { readonly form: PredictForm; readonly data: ReadonlyMap<string, unknown> } {
  if (!Array.isArray(instances)) throw malformed('"instances" must be a list of rows');
  const rows = instances.length;
  if (rows === 0) throw malformed('"instances" has no rows; send one or more');
  const form = { kind: "instances", rows } as const;
  if (inputs.length === 1 && !instances.some(isObject))
    return { form, data: new Map([[inputs[0]!.name, instances]]) };
  const columns = new Map<string, unknown[]>();
  for (const [index, row] of instances.entries()) {
    const fields = asObject(row, `row ${index} of "instances"`);
    checkNames(model, Object.keys(fields), inputs);
    for (const name of Object.keys(fields)) {
      const column = columns.get(name);
      if (column) column.push(fields[name]);
      else columns.set(name, [fields[name]]);
    }
  }
  for (const [name, column] of columns) {
    if (column.length !== rows) {
      throw malformed(
        `input "${name}" is in ${column.length} of ${rows} rows; give it in all or none`,
      );
    }
  }
  return { form, data: columns };
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function columnsByName(
  model: string,
  given: unknown,
  inputs: readonly InputMetadata[],
): ReadonlyMap<string, unknown> {
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
 *
 * @throws TensorwireError `REQUEST_MALFORMED` if rows came and an output is not made of as many
 */
export function encodePredict(response: ModelInferResponse, form: PredictForm): string {
  const tensors = responseTensors(response);
  const ranges = tensors.map(jsonRanges);
  if (form.kind === "inputs") {
    const texts = tensors.map(({ shape }, index) => nested(ranges[index]!, shape, 0));
    return `{"outputs":${byName(tensors, texts)}}`;
  }
  const { rows } = form;
  const rowShapes = tensors.map((tensor) => rowShapeOf(tensor, rows));
  const texts: string[] = [];
  for (let row = 0; row < rows; row++) {
    const values = rowShapes.map((shape, index) =>
      nested(ranges[index]!, shape, row * elementCount(shape)),
    );
    texts.push(byName(tensors, values));
  }
  return `{"predictions":[${texts.join(",")}]}`;
}

function rowShapeOf({ name, shape }: Tensor, rows: number): readonly number[] {
  if (shape[0] !== rows) {
    throw malformed(
      `output "${name}" has the shape ${shapeText(shape)}, which is not a row for each of ${rows} instances; send "inputs" in place of "instances"`,
    );
  }
  return shape.slice(1);
}

function byName(tensors: readonly Tensor[], values: readonly string[]): string {
  if (tensors.length === 1) return values[0]!;
  return `{${tensors.map(({ name }, index) => `${JSON.stringify(name)}:${values[index]}`).join(",")}}`;
}

/** The elements from `from` on, in arrays as the shape has them. */
function nested(
  range: (from: number, to: number) => string,
  shape: readonly number[],
  from: number,
): string {
  const [length, ...rest] = shape;
  if (length === undefined) return range(from, from + 1);
  if (rest.length === 0) return `[${range(from, from + length)}]`;
  const width = elementCount(rest);
  const parts = Array.from({ length }, (_, index) => nested(range, rest, from + index * width));
  return `[${parts.join(",")}]`;
}
