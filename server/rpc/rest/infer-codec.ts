import { create } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { datatypeUnknown, shapeInvalid } from "../../errors/tensor-errors.ts";
import { joinBytesElements, splitBytesElements } from "../../tensor/bytes-elements.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import { decodeJsonData, jsonElements } from "../../tensor/json-data.ts";
import { elementCount } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import {
  arrayMember,
  asObject,
  type JsonObject,
  malformed,
  member,
  parseJsonObject,
  stringMember,
} from "./json-object.ts";
import { decodeParameters, encodeParameters } from "./json-parameters.ts";
import { chunks, jsonResponse } from "./json-response.ts";

/** Header of the binary tensor data extension: length of the JSON part. */
export const jsonLengthHeader = "inference-header-content-length";

/** A request, and which outputs are to be answered in binary. */
export interface DecodedInfer {
  readonly request: ModelInferRequest;
  readonly isBinaryOutput: (name: string) => boolean;
}

/**
 * Reads the body of a v2 infer request: JSON, or JSON and binary parts behind it.
 *
 * @param jsonLength - value of {@link jsonLengthHeader}, `null` without
 * @throws TensorwireError `REQUEST_MALFORMED` and what tensors can be refused for
 */
export function decodeInfer(
  model: string,
  version: string,
  body: Uint8Array,
  jsonLength: string | null,
): DecodedInfer {
  const length = readJsonLength(jsonLength, body.byteLength);
  const json = parseJsonObject(body.subarray(0, length));
  let offset = length;
  const takeBinary = (name: string, size: number): Uint8Array => {
    if (size > body.byteLength - offset) {
      throw malformed(
        `binary_data_size of input "${name}" is ${size}, and ${body.byteLength - offset} bytes are left in the body`,
      );
    }
    offset += size;
    return body.subarray(offset - size, offset);
  };
  const parts = arrayMember(json, "inputs", "the body").map((value) =>
    decodeInput(asObject(value, "an input"), takeBinary),
  );
  if (offset !== body.byteLength) {
    throw malformed(
      `${body.byteLength - offset} bytes are left behind the inputs; give each binary input its binary_data_size`,
    );
  }
  const parameters = decodeParameters(json, "the body");
  const binaryByDefault = parameters.binary_data_output?.parameterChoice?.value === true;
  const binaryOf = new Map<string, boolean>();
  const outputs = arrayMember(json, "outputs", "the body").map((value) => {
    const output = asObject(value, "an output");
    const name = stringMember(output, "name", "an output");
    const outputParameters = decodeParameters(output, `output "${name}"`);
    const binary = outputParameters.binary_data?.parameterChoice?.value;
    if (typeof binary === "boolean") binaryOf.set(name, binary);
    return { name, parameters: outputParameters };
  });
  return {
    request: create(ModelInferRequestSchema, {
      modelName: model,
      modelVersion: version,
      id: stringMember(json, "id", "the body", ""),
      parameters,
      inputs: parts.map(({ header }) => header),
      outputs,
      rawInputContents: parts.map(({ raw }) => raw),
    }),
    isBinaryOutput: (name) => binaryOf.get(name) ?? binaryByDefault,
  };
}

function readJsonLength(header: string | null, bodyLength: number): number {
  if (header === null) return bodyLength;
  const length = /^\d+$/.test(header.trim()) ? Number(header) : Number.NaN;
  if (!(length <= bodyLength)) {
    throw malformed(
      `Inference-Header-Content-Length is ${JSON.stringify(header)}, the body has ${bodyLength} bytes`,
    );
  }
  return length;
}

function decodeInput(
  input: JsonObject,
  takeBinary: (name: string, size: number) => Uint8Array,
): {
  header: {
    name: string;
    datatype: string;
    shape: bigint[];
    parameters: ReturnType<typeof decodeParameters>;
  };
  raw: Uint8Array;
} {
  const name = stringMember(input, "name", "an input");
  const what = `input "${name}"`;
  const datatype = stringMember(input, "datatype", what);
  const shape = arrayMember(input, "shape", what).map(Number);
  const parameters = decodeParameters(input, what);
  if (Number.isNaN(elementCount(shape)))
    throw shapeInvalid(
      name,
      JSON.stringify(member(input, "shape"), (_, v) => (typeof v === "bigint" ? String(v) : v)),
    );
  if (!isDatatype(datatype)) throw datatypeUnknown(name, datatype);
  const header = { name, datatype, shape: shape.map(BigInt), parameters };
  const size = parameters.binary_data_size?.parameterChoice?.value;
  const data = member(input, "data");
  if (size !== undefined) {
    if (typeof size !== "bigint" || size < 0n)
      throw malformed(`binary_data_size of ${what} must be a whole number of bytes`);
    if (data !== undefined)
      throw malformed(`${what} has data and binary_data_size; send one of them`);
    return { header, raw: takeBinary(name, Number(size)) };
  }
  if (data === undefined) throw malformed(`${what} has neither data nor binary_data_size`);
  const tensor = decodeJsonData(name, datatype, shape, data);
  return { header, raw: tensor.bytes ?? joinBytesElements(tensor.elements) };
}

/** Outputs of a response with raw contents, as tensors. */
export function responseTensors(response: ModelInferResponse): Tensor[] {
  return response.outputs.map(({ name, datatype, shape: dims }, index) => {
    const shape = dims.map(Number);
    const raw = response.rawOutputContents[index];
    if (!raw || !isDatatype(datatype))
      throw new Error(`output "${name}" of ${datatype} came without raw contents`);
    return datatype === "BYTES"
      ? { name, datatype, shape, elements: splitBytesElements(name, raw, elementCount(shape)) }
      : { name, datatype, shape, bytes: raw };
  });
}

/** Writes a v2 infer response: JSON, and behind it the outputs that are to be binary. */
export function encodeInfer(
  response: ModelInferResponse,
  isBinaryOutput: (name: string) => boolean,
): UniversalServerResponse {
  const binary: Uint8Array[] = [];
  const outputs = responseTensors(response).map((tensor, index) => {
    const { name, datatype, shape } = tensor;
    const head = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`;
    if (!isBinaryOutput(name)) return `${head},"data":[${jsonElements(tensor).join(",")}]}`;
    const raw = response.rawOutputContents[index]!;
    binary.push(raw);
    return `${head},"parameters":{"binary_data_size":${raw.byteLength}}}`;
  });
  const parameters = encodeParameters(response.parameters);
  const json =
    `{"model_name":${JSON.stringify(response.modelName)},"model_version":${JSON.stringify(response.modelVersion)}` +
    (response.id === "" ? "" : `,"id":${JSON.stringify(response.id)}`) +
    (parameters === undefined ? "" : `,"parameters":${parameters}`) +
    `,"outputs":[${outputs.join(",")}]}`;
  if (binary.length === 0) return jsonResponse(200, json);
  const head = new TextEncoder().encode(json);
  const total = binary.reduce((sum, part) => sum + part.byteLength, head.byteLength);
  return {
    status: 200,
    header: new Headers({
      "content-type": "application/octet-stream",
      "content-length": String(total),
      [jsonLengthHeader]: String(head.byteLength),
    }),
    body: chunks(head, ...binary),
  };
}
