import { create } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
} from "../../../../gen/inference/grpc_service_pb.ts";
import { inputDuplicate } from "../../../errors/request-errors.ts";
import { isDatatype } from "../../../tensor/datatype.ts";
import { decodeJsonRaw } from "../../../tensor/json-data.ts";
import { asObject, type JsonObject, stringMember } from "../json-object.ts";
import { jsonParameter, type Parameters } from "../json-parameters.ts";

/** An input as a model's metadata has it. */
export interface GenerateInput {
  readonly name: string;
  readonly datatype: string;
  /** -1 for any size. */
  readonly shape: readonly bigint[];
}

/**
 * Reads the body of a generate request as Triton maps it: a member with the name of an input is that
 * input, whether it stands in the body or in its `parameters`; every other one is a request parameter,
 * save `id`. What is null counts as left out.
 *
 * A value that stands alone is a tensor of one element, an array one of as many as it has.
 *
 * @throws TensorwireError `REQUEST_MALFORMED`, `INPUT_DUPLICATE`, and what tensors can be refused for
 */
export function decodeGenerate(
  model: string,
  version: string,
  body: JsonObject,
  inputs: readonly GenerateInput[],
): ModelInferRequest {
  const { id, parameters: nested, ...members } = body;
  const tensors = new Map<string, InputTensor>();
  const parameters = new Map<string, Parameters[string]>();
  for (const source of [members, asObject(nested ?? {}, '"parameters" of the body')]) {
    for (const [name, value] of Object.entries(source)) {
      if (value === null) continue;
      const input = inputs.find((each) => each.name === name);
      if (!input) parameters.set(name, jsonParameter(textForm(value), name));
      else if (tensors.has(name)) throw inputDuplicate(model, name);
      else tensors.set(name, tensorOf(input, value));
    }
  }
  const given = [...tensors.values()];
  return create(ModelInferRequestSchema, {
    modelName: model,
    modelVersion: version,
    id: stringMember({ id: id ?? "" }, "id", "the body"),
    parameters: Object.fromEntries(parameters),
    inputs: given.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: shape.map(BigInt),
    })),
    rawInputContents: given.map(({ raw }) => raw),
  });
}

/** A parameter holds no list, so one of strings, such as several stop strings, goes as JSON. */
function textForm(value: unknown): unknown {
  const isList = Array.isArray(value) && value.every((each) => typeof each === "string");
  return isList ? JSON.stringify(value) : value;
}

interface InputTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
}

function tensorOf({ name, datatype, shape: declared }: GenerateInput, value: unknown): InputTensor {
  if (!isDatatype(datatype))
    throw new Error(`input "${name}" has the unknown datatype ${datatype}`);
  const data = Array.isArray(value) ? value : [value];
  const shape = shapeOf(declared, data.flat(Number.POSITIVE_INFINITY).length);
  return { name, datatype, shape, raw: decodeJsonRaw(name, datatype, shape, data) };
}

/** The declared shape, its last free size as large as the elements need, and the other free ones 1. */
function shapeOf(declared: readonly bigint[], elements: number): number[] {
  const last = declared.lastIndexOf(-1n);
  const fixed = declared.reduce(
    (product, size) => (size > 0n ? product * Number(size) : product),
    1,
  );
  return declared.map((size, index) => {
    if (size >= 0n) return Number(size);
    return index === last ? Math.ceil(elements / fixed) : 1;
  });
}
