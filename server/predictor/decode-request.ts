import {
  batchSizeExceeded,
  batchSizeMismatch,
  datatypeMismatch,
  inputDuplicate,
  inputMissing,
  inputUnknown,
  outputDuplicate,
  outputUnknown,
  parameterInvalid,
  rawAndContents,
  rawCountMismatch,
  shapeMismatch,
} from "../errors/request-errors.ts";
import { sharedMemoryUnsupported } from "../errors/shared-memory-errors.ts";
import { datatypeUnknown, shapeInvalid, tensorBytesMismatch } from "../errors/tensor-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { InferRequest } from "../rpc/infer-messages.ts";
import { splitBytesElements } from "../tensor/bytes-elements.ts";
import { contentsHoldElements, decodeContents } from "../tensor/contents.ts";
import { elementSize, isDatatype } from "../tensor/datatype.ts";
import { elementCount, shapeMatches } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { parameterValue } from "./infer-parameter.ts";
import type { ModelSignature, TensorSpec } from "./signature.ts";

type InferInput = InferRequest["inputs"][number];

/** An output that a request asks for. */
export interface RequestedOutput {
  readonly name: string;
  readonly labels: readonly string[];
  /** Classes to name in place of the scores; 0 for the tensor itself. */
  readonly classes: number;
}

/** A request that fits the model. */
export interface DecodedRequest {
  readonly inputs: readonly Tensor[];
  /** In the order in which they are answered. */
  readonly outputs: readonly RequestedOutput[];
  readonly outputNames: readonly string[];
  /** Rows of the batch; 1 for a model without a batch dimension. */
  readonly rows: number;
  /** How the inputs came, and so how the outputs go back. */
  readonly form: "raw" | "typed";
}

/**
 * Checks a request against a signature and gives its inputs as tensors, which are views on the
 * request's raw contents. The checks come in the order: requested outputs, inputs and their count,
 * batch dimension, datatype, shape, size.
 *
 * @param model - for messages
 * @throws TensorwireError of reasons in the groups "request" and "tensors" of the registry
 */
export function decodeRequest(
  model: string,
  signature: ModelSignature,
  request: InferRequest,
): DecodedRequest {
  const outputs = requestedOutputs(model, signature, request);
  const form = request.rawInputContents.length > 0 ? "raw" : "typed";
  const specs = pairInputs(model, signature, request);
  const shapes = request.inputs.map(readShape);
  const rows =
    signature.maxBatchSize > 0
      ? checkBatch(model, request, shapes, specs, signature.maxBatchSize)
      : 1;
  const inputs = request.inputs.map((input, index) =>
    decodeInput(
      input,
      shapes[index]!,
      specs[index]!,
      form === "raw" ? request.rawInputContents[index]! : undefined,
    ),
  );
  return { inputs, outputs, outputNames: outputs.map(({ name }) => name), rows, form };
}

function requestedOutputs(
  model: string,
  signature: ModelSignature,
  request: InferRequest,
): RequestedOutput[] {
  if (request.outputs.length === 0) {
    return signature.outputs.map(({ name, labels }) => ({ name, labels, classes: 0 }));
  }
  const seen = new Set<string>();
  return request.outputs.map(({ name, parameters }) => {
    const spec = signature.outputs.find((output) => output.name === name);
    if (!spec) throw outputUnknown(model, name, namesOf(signature.outputs));
    if (seen.has(name)) throw outputDuplicate(model, name);
    seen.add(name);
    if (parameterValue(parameters, "shared_memory_region") !== undefined)
      throw sharedMemoryOff(name);
    return {
      name,
      labels: spec.labels,
      classes: readClasses(parameterValue(parameters, "classification")),
    };
  });
}

function readClasses(value: boolean | bigint | number | string | undefined): number {
  if (value === undefined) return 0;
  const classes = Number(value);
  if (typeof value === "boolean" || !Number.isSafeInteger(classes) || classes < 1) {
    throw parameterInvalid("classification", String(value), "a number of classes of 1 or more");
  }
  return classes;
}

/** The spec of each given input, in the order of the request. */
function pairInputs(model: string, signature: ModelSignature, request: InferRequest): TensorSpec[] {
  const { inputs, rawInputContents } = request;
  const given = inputs.map(({ name }) => name);
  const missing = signature.inputs.filter((spec) => !spec.optional && !given.includes(spec.name));
  if (missing.length > 0) {
    const required = signature.inputs.filter((spec) => !spec.optional);
    throw inputMissing(model, given, namesOf(missing), namesOf(required));
  }
  const seen = new Set<string>();
  const specs = inputs.map(({ name, parameters }) => {
    const spec = signature.inputs.find((candidate) => candidate.name === name);
    if (!spec) throw inputUnknown(model, name, namesOf(signature.inputs));
    if (seen.has(name)) throw inputDuplicate(model, name);
    seen.add(name);
    if (parameterValue(parameters, "shared_memory_region") !== undefined)
      throw sharedMemoryOff(name);
    return spec;
  });
  if (rawInputContents.length > 0) {
    const both = inputs.find(({ contents }) => contentsHoldElements(contents));
    if (both) throw rawAndContents(both.name);
    if (rawInputContents.length !== inputs.length)
      throw rawCountMismatch(rawInputContents.length, inputs.length);
  }
  return specs;
}

/** Those of a server that has shared memory are in the request by now (shared-memory/memory-call.ts). */
function sharedMemoryOff(tensor: string): TensorwireError {
  const why = "which this server does not take: it was started without --allow-shared-memory";
  return sharedMemoryUnsupported(tensor, why);
}

function readShape(input: InferInput): number[] {
  const shape = Array.from(input.shape, Number);
  if (Number.isNaN(elementCount(shape)))
    throw shapeInvalid(input.name, `[${Array.from(input.shape).join(",")}]`);
  return shape;
}

function checkBatch(
  model: string,
  request: InferRequest,
  shapes: readonly (readonly number[])[],
  specs: readonly TensorSpec[],
  maxBatchSize: number,
): number {
  const rows = shapes[0]?.[0];
  for (const [index, shape] of shapes.entries()) {
    const given = shape[0];
    const spec = specs[index]!;
    if (given === undefined || rows === undefined)
      throw shapeMismatch(spec.name, shape, spec.shape);
    if (given !== rows) throw batchSizeMismatch(spec.name, given, request.inputs[0]!.name, rows);
    if (given > maxBatchSize) throw batchSizeExceeded(model, given, maxBatchSize);
  }
  return rows ?? 1;
}

function decodeInput(
  input: InferInput,
  shape: readonly number[],
  spec: TensorSpec,
  raw: Uint8Array | undefined,
): Tensor {
  const { name, datatype } = input;
  if (!isDatatype(datatype)) throw datatypeUnknown(name, datatype);
  if (datatype !== spec.datatype) throw datatypeMismatch(name, datatype, spec.datatype);
  if (!shapeMatches(shape, spec.shape)) throw shapeMismatch(name, shape, spec.shape);
  if (raw === undefined) return decodeContents(name, datatype, shape, input.contents);
  const count = elementCount(shape);
  if (datatype === "BYTES") {
    return { name, datatype, shape, elements: splitBytesElements(name, raw, count) };
  }
  const expected = count * elementSize(datatype);
  if (raw.byteLength !== expected) throw tensorBytesMismatch(name, raw.byteLength, expected);
  return { name, datatype, shape, bytes: raw };
}

function namesOf(specs: readonly TensorSpec[]): string[] {
  return specs.map(({ name }) => name);
}
