import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  InferParameterSchema,
  type ModelInferRequest,
  type ModelInferRequest_InferInputTensorSchema,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { datatypeUnknown, shapeInvalid } from "../../errors/tensor-errors.ts";
import { joinBytesElements, splitBytesElements } from "../../tensor/bytes-elements.ts";
import { decodeContents } from "../../tensor/contents.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import { decodeJsonRaw, jsonChunks } from "../../tensor/json-data.ts";
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
import {
  booleanParameter,
  decodeParameters,
  encodeParameters,
  parameterValue,
} from "./json-parameters.ts";
import { BodyParts, byteLengthOf, jsonBytesResponse } from "./json-response.ts";
import { JsonWriter } from "./json-writer.ts";

/** Header of the binary tensor data extension: length of the JSON part. */
export const jsonLengthHeader = "inference-header-content-length";

/** Parameter that says that the contents of a tensor are in shared memory. */
const memoryRegion = "shared_memory_region";

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
  const binary: BinaryParts = { body, offset: length };
  const parts = arrayMember(json, "inputs", "the body").map((value) =>
    decodeInput(asObject(value, "an input"), binary),
  );
  if (binary.offset !== body.byteLength) {
    throw malformed(
      `${body.byteLength - binary.offset} bytes are left behind the inputs; give each binary input its binary_data_size`,
    );
  }
  const parameters = decodeParameters(json, "the body");
  const binaryByDefault = booleanParameter(parameters, "binary_data_output") ?? false;
  const binaryOf = new Map<string, boolean>();
  const outputs = arrayMember(json, "outputs", "the body").map((value) => {
    const output = asObject(value, "an output");
    const name = stringMember(output, "name", "an output");
    const outputParameters = decodeParameters(output, `output "${name}"`);
    const isBinary = booleanParameter(outputParameters, "binary_data");
    if (isBinary !== undefined) binaryOf.set(name, isBinary);
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
      rawInputContents: parts.flatMap(({ raw }) => raw ?? []),
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

interface DecodedInput {
  readonly header: MessageInitShape<typeof ModelInferRequest_InferInputTensorSchema>;
  /** `undefined` for contents in shared memory. */
  readonly raw: Uint8Array | undefined;
}

/** What is not read yet of the binary parts of a body. */
interface BinaryParts {
  readonly body: Uint8Array;
  offset: number;
}

function takeBinary(binary: BinaryParts, name: string, size: number): Uint8Array {
  const { body, offset } = binary;
  if (size > body.byteLength - offset) {
    throw malformed(
      `binary_data_size of input "${name}" is ${size}, and ${body.byteLength - offset} bytes are left in the body`,
    );
  }
  binary.offset += size;
  return body.subarray(offset, offset + size);
}

function decodeInput(input: JsonObject, binary: BinaryParts): DecodedInput {
  const name = stringMember(input, "name", "an input");
  const what = `input "${name}"`;
  const datatype = stringMember(input, "datatype", what);
  const shape = decodeShape(name, arrayMember(input, "shape", what));
  const parameters = decodeParameters(input, what);
  if (!isDatatype(datatype)) throw datatypeUnknown(name, datatype);
  const header = { name, datatype, shape: shape.map(BigInt), parameters };
  const size = parameterValue(parameters, "binary_data_size");
  const data = member(input, "data");
  if (parameterValue(parameters, memoryRegion) !== undefined) {
    if (data !== undefined || size !== undefined)
      throw malformed(`${what} has data, and ${memoryRegion}; send one of them`);
    // Whether and where it is there is for the backend to say.
    return { header, raw: undefined };
  }
  if (size !== undefined) {
    if (typeof size !== "bigint" || size < 0n)
      throw malformed(`binary_data_size of ${what} must be a whole number of bytes`);
    if (data !== undefined)
      throw malformed(`${what} has data and binary_data_size; send one of them`);
    return { header, raw: takeBinary(binary, name, Number(size)) };
  }
  if (data !== undefined) return { header, raw: decodeJsonRaw(name, datatype, shape, data) };
  throw malformed(`${what} has neither data nor binary_data_size`);
}

function decodeShape(name: string, given: readonly unknown[]): number[] {
  const shape = given.map((size) =>
    typeof size === "number" || typeof size === "bigint" ? Number(size) : Number.NaN,
  );
  if (Number.isNaN(elementCount(shape)))
    throw shapeInvalid(name, `[${given.map((size) => textOf(size)).join(",")}]`);
  return shape;
}

function textOf(value: unknown): string {
  return typeof value === "bigint"
    ? value.toString()
    : (JSON.stringify(value, replaceBigint) ?? "");
}

function replaceBigint(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

/**
 * Outputs of a response as tensors; views on its raw contents.
 *
 * A request without inputs has no raw contents, so its answer is typed: both forms are read.
 */
export function responseTensors(response: ModelInferResponse): Tensor[] {
  return response.outputs.map((_, index) => responseTensor(response, index));
}

function responseTensor({ outputs, rawOutputContents }: ModelInferResponse, index: number): Tensor {
  const { name, datatype, shape: dims, contents } = outputs[index]!;
  if (!isDatatype(datatype))
    throw new Error(`output "${name}" has the unknown datatype ${datatype}`);
  const shape = dims.map(Number);
  const raw = rawOutputContents[index];
  if (raw === undefined) return decodeContents(name, datatype, shape, contents);
  return datatype === "BYTES"
    ? { name, datatype, shape, elements: splitBytesElements(name, raw, elementCount(shape)) }
    : { name, datatype, shape, bytes: raw };
}

/** Writes a v2 infer response: JSON, and behind it the outputs that are to be binary. */
export function encodeInfer(
  response: ModelInferResponse,
  isBinaryOutput: (name: string) => boolean,
): UniversalServerResponse {
  const writer = new JsonWriter();
  const binary: Uint8Array[] = [];
  writer.write(
    `{"model_name":${JSON.stringify(response.modelName)},"model_version":${JSON.stringify(response.modelVersion)}`,
  );
  if (response.id !== "") writer.write(`,"id":${JSON.stringify(response.id)}`);
  const parameters = encodeParameters(response.parameters);
  if (parameters !== undefined) writer.write(`,"parameters":${parameters}`);
  writer.write(',"outputs":[');
  for (const [index, output] of response.outputs.entries()) {
    const { name, datatype, shape, parameters: given } = output;
    writer.write(
      `${index === 0 ? "" : ","}{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(",")}]`,
    );
    if (Object.hasOwn(given, memoryRegion)) {
      // Its contents are where the request said. Triton answers no parameters then, and its C++ client takes
      // any as a sign of binary data.
      writer.write("}");
      continue;
    }
    const tensor = responseTensor(response, index);
    if (isBinaryOutput(name)) {
      const raw =
        tensor.bytes ?? response.rawOutputContents[index] ?? joinBytesElements(tensor.elements);
      binary.push(raw);
      const size = create(InferParameterSchema, {
        parameterChoice: { case: "int64Param", value: BigInt(raw.byteLength) },
      });
      writer.write(`,"parameters":${encodeParameters({ ...given, binary_data_size: size })}}`);
    } else {
      const others = encodeParameters(given);
      writer.write(others === undefined ? ',"data":[' : `,"parameters":${others},"data":[`);
      for (const chunk of jsonChunks(tensor)) writer.write(chunk);
      writer.write("]}");
    }
  }
  writer.write("]}");
  const json = writer.end();
  if (binary.length === 0) return jsonBytesResponse(200, json);
  return {
    status: 200,
    header: new Headers({
      "content-type": "application/octet-stream",
      "content-length": String(byteLengthOf(json) + byteLengthOf(binary)),
      [jsonLengthHeader]: String(byteLengthOf(json)),
    }),
    body: new BodyParts([...json, ...binary]),
  };
}
