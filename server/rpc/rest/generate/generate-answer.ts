import type { ModelInferResponse } from "../../../../gen/inference/grpc_service_pb.ts";
import { jsonRanges } from "../../../tensor/json-data.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { responseTensors } from "../infer-codec.ts";

/** Output whose elements are put together where one answer is to hold several. */
export const textOutput = "text_output";

/**
 * Writes an answer as Triton's generate extension has it: the outputs by name, flat, bare if they have one
 * element.
 *
 * @param text - put in place of the answer's own text_output
 */
export function encodeGenerate(response: ModelInferResponse, text?: string): string {
  const { id, modelName, modelVersion } = response;
  const members = [
    ...(id === "" ? [] : [`"id":${JSON.stringify(id)}`]),
    `"model_name":${JSON.stringify(modelName)}`,
    `"model_version":${JSON.stringify(modelVersion)}`,
  ];
  for (const tensor of responseTensors(response)) {
    const given = tensor.name === textOutput ? text : undefined;
    const value = given === undefined ? valueText(tensor) : JSON.stringify(given);
    members.push(`${JSON.stringify(tensor.name)}:${value}`);
  }
  return `{${members.join(",")}}`;
}

function valueText(tensor: Tensor): string {
  const count = elementCount(tensor.shape);
  const values = jsonRanges(tensor)(0, count);
  return count === 1 ? values : `[${values}]`;
}

/** The text of an answer; `undefined` if it has no text_output of strings. */
export function textOf(response: ModelInferResponse): string | undefined {
  const tensor = responseTensors(response).find(({ name }) => name === textOutput);
  if (tensor?.datatype !== "BYTES") return undefined;
  return tensor.elements.map((element) => Buffer.from(element).toString()).join("");
}
