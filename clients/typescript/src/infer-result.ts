import type {
  ModelInferResponse,
  ModelInferResponse_InferOutputTensor,
} from "../../../gen/inference/grpc_service_pb.ts";
import { outputUnknown } from "../../../server/errors/request-errors.ts";
import { datatypeUnknown } from "../../../server/errors/tensor-errors.ts";
import { errorDomain, TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { splitBytesElements } from "../../../server/tensor/bytes-elements.ts";
import { decodeContents } from "../../../server/tensor/contents.ts";
import { type Datatype, isDatatype } from "../../../server/tensor/datatype.ts";
import { elementCount } from "../../../server/tensor/shape.ts";
import { viewTypedArray } from "../../../server/tensor/typed-array.ts";
import { decodeParameters, type ParameterValue } from "./infer-parameter.ts";
import { InferenceError, inferenceError } from "./inference-error.ts";
import { bytesTensor, numericTensor, type TensorOf, type TypedTensor } from "./typed-tensor.ts";

/** Answer to an inference. */
export interface InferResult {
  readonly modelName: string;
  /** Version that answered; "" from servers that do not say. */
  readonly modelVersion: string;
  /** Id of the request, "" if it had none. */
  readonly id: string;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Outputs by name. */
  readonly outputs: Readonly<Record<string, TypedTensor>>;
  /**
   * Gives one output, with the type of its datatype if that is named.
   *
   * ```ts
   * const scores: Float32Array = result.output("probabilities", "FP32").data;
   * ```
   *
   * @throws InferenceError `OUTPUT_UNKNOWN`, `DATATYPE_MISMATCH`
   */
  output<D extends Datatype>(name: string, datatype: D): TensorOf<D>;
  output(name: string): TypedTensor;
}

/**
 * Reads an answer, in raw or in typed contents. Raw outputs are views on the message.
 *
 * @throws InferenceError `INTERNAL` if the answer contradicts itself
 */
export function inferResult(response: ModelInferResponse): InferResult {
  const { modelName, modelVersion, id } = response;
  let outputs: Readonly<Record<string, TypedTensor>>;
  try {
    outputs = decodeOutputs(response);
  } catch (thrown) {
    throw malformedAnswer(modelName, thrown);
  }
  function output(name: string, datatype?: Datatype): TypedTensor {
    if (!Object.hasOwn(outputs, name)) {
      throw inferenceError(outputUnknown(modelName, name, Object.keys(outputs)));
    }
    const tensor = outputs[name]!;
    if (datatype === undefined || tensor.datatype === datatype) return tensor;
    throw inferenceError(
      new TensorwireError(
        "DATATYPE_MISMATCH",
        `output "${name}": got datatype ${tensor.datatype}, expected ${datatype}`,
        { output: name, givenDatatype: tensor.datatype, expectedDatatype: datatype },
      ),
    );
  }
  const parameters = decodeParameters(response.parameters);
  return {
    modelName,
    modelVersion,
    id,
    parameters,
    outputs,
    output: output as InferResult["output"],
  };
}

function decodeOutputs(response: ModelInferResponse): Readonly<Record<string, TypedTensor>> {
  const { outputs, rawOutputContents: raw } = response;
  if (raw.length > 0 && raw.length !== outputs.length) {
    throw new TensorwireError(
      "RAW_COUNT_MISMATCH",
      `got ${raw.length} raw_output_contents for ${outputs.length} outputs`,
      { givenBuffers: `${raw.length}`, expectedBuffers: `${outputs.length}` },
    );
  }
  return Object.fromEntries(
    outputs.map((output, index) => [output.name, decodeOutput(output, raw[index])]),
  );
}

function decodeOutput(
  { name, datatype, shape: wireShape, contents }: ModelInferResponse_InferOutputTensor,
  raw: Uint8Array | undefined,
): TypedTensor {
  if (!isDatatype(datatype)) throw datatypeUnknown(name, datatype);
  const shape = wireShape.map(Number);
  if (datatype === "BYTES") {
    const bytes = raw
      ? splitBytesElements(name, raw, elementCount(shape))
      : decodeContents(name, datatype, shape, contents).elements;
    return bytesTensor(shape, bytes ?? []);
  }
  const bytes = raw ?? decodeContents(name, datatype, shape, contents).bytes ?? new Uint8Array();
  // The datatype decides the array; the compiler cannot follow it through the union.
  return numericTensor(
    datatype,
    shape,
    viewTypedArray(name, datatype, bytes, shape),
  ) as TypedTensor;
}

/** The server's fault, whatever code the registry gives the same fault of a request. */
function malformedAnswer(model: string, thrown: unknown): InferenceError {
  const { message, reason, metadata } = inferenceError(thrown);
  return new InferenceError(`the answer of model "${model}" cannot be read: ${message}`, {
    code: "INTERNAL",
    reason,
    domain: errorDomain,
    metadata,
    cause: thrown,
  });
}
