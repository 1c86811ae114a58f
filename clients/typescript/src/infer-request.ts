import { create } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
  ModelInferRequest_InferInputTensorSchema,
  ModelInferRequest_InferRequestedOutputTensorSchema,
  ModelInferRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import {
  datatypeUnknown,
  shapeInvalid,
  tensorElementsMismatch,
} from "../../../server/errors/tensor-errors.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { joinBytesElements } from "../../../server/tensor/bytes-elements.ts";
import {
  elementSize,
  type FixedSizeDatatype,
  isDatatype,
} from "../../../server/tensor/datatype.ts";
import { elementCount, shapeText } from "../../../server/tensor/shape.ts";
import { bytesOf, type TypedArrayOf } from "../../../server/tensor/typed-array.ts";
import type { InferRequestOptions, RequestedOutput } from "./client-options.ts";
import { encodeParameters } from "./infer-parameter.ts";

/**
 * A tensor to send: what `tensor(...)` makes, an output of another call, or a plain object of the
 * same fields.
 */
export type InputTensor =
  | {
      readonly [D in FixedSizeDatatype]: {
        readonly datatype: D;
        readonly shape: readonly number[];
        readonly data: TypedArrayOf[D];
      };
    }[FixedSizeDatatype]
  | {
      readonly datatype: "BYTES";
      readonly shape: readonly number[];
      readonly bytes: readonly Uint8Array[];
    };

/** Inputs by name. */
export type InferInputs = Readonly<Record<string, InputTensor>>;

/**
 * Makes the request, with raw contents that are views on the tensors.
 *
 * @throws TensorwireError for a tensor that contradicts itself
 */
export function inferRequest(
  model: string,
  inputs: InferInputs,
  options: InferRequestOptions = {},
): ModelInferRequest {
  const tensors: ModelInferRequest_InferInputTensor[] = [];
  const raw: Uint8Array[] = [];
  for (const [name, tensor] of Object.entries(inputs)) {
    raw.push(rawContents(name, tensor));
    tensors.push(
      create(ModelInferRequest_InferInputTensorSchema, {
        name,
        datatype: tensor.datatype,
        shape: tensor.shape.map(BigInt),
      }),
    );
  }
  return create(ModelInferRequestSchema, {
    modelName: model,
    modelVersion: options.modelVersion,
    id: options.id,
    parameters: encodeParameters(options.parameters),
    inputs: tensors,
    outputs: options.outputs?.map(requestedOutput),
    rawInputContents: raw,
  });
}

function rawContents(name: string, tensor: InputTensor): Uint8Array {
  // Callers without a type checker pass arrays and strings here.
  if (!Array.isArray(tensor?.shape)) throw notATensor(name, "shape", "an array of numbers");
  const { datatype, shape } = tensor;
  if (!isDatatype(datatype)) throw datatypeUnknown(name, String(datatype));
  const count = elementCount(shape);
  if (Number.isNaN(count)) throw shapeInvalid(name, shapeText(shape));
  if (datatype === "BYTES") {
    if (!Array.isArray(tensor.bytes)) throw notATensor(name, "bytes", "an array of Uint8Arrays");
    if (tensor.bytes.length !== count) {
      throw tensorElementsMismatch(name, tensor.bytes.length, count);
    }
    return joinBytesElements(tensor.bytes);
  }
  const { data } = tensor;
  if (!ArrayBuffer.isView(data) || data.BYTES_PER_ELEMENT !== elementSize(datatype)) {
    throw notATensor(name, "data", `the typed array of ${datatype}`);
  }
  if (data.length !== count) throw tensorElementsMismatch(name, data.length, count);
  return bytesOf(data);
}

function requestedOutput(output: string | RequestedOutput) {
  const { name, classification, parameters } =
    typeof output === "string" ? { name: output } : output;
  return create(ModelInferRequest_InferRequestedOutputTensorSchema, {
    name,
    parameters: encodeParameters({
      ...parameters,
      ...(classification === undefined ? undefined : { classification }),
    }),
  });
}

function notATensor(name: string, field: string, expected: string): TensorwireError {
  return new TensorwireError(
    "REQUEST_MALFORMED",
    `input "${name}": expected ${expected} as ${field}; make inputs with tensor(shape, data, datatype)`,
    { input: name, field, expected },
  );
}
