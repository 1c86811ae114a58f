import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type {
  ModelInferRequest,
  ModelInferResponse,
} from "../../../../gen/inference/grpc_service_pb.ts";
import { fromUnknown } from "../../../errors/from-unknown.ts";
import { generateNeedsStream } from "../../../errors/generation-errors.ts";
import { metadataOf } from "../answer-models.ts";
import { afterFirst, eventBytes, eventStreamResponse } from "../event-stream.ts";
import { parseJsonObject } from "../json-object.ts";
import { jsonResponse } from "../json-response.ts";
import { modelAnswers } from "../model-answers.ts";
import { readBody } from "../read-body.ts";
import type { RestCall } from "../rest-call.ts";
import { errorJson } from "../rest-error.ts";
import { encodeGenerate, textOf } from "./generate-answer.ts";
import { decodeGenerate } from "./generate-request.ts";
import { WholeText } from "./whole-text.ts";

/** Input by which a model is told whether to answer in pieces; vLLM's backend of Triton has it. */
const streamInput = "stream";

/** Triton's generate extension: one answer. */
export async function generate(call: RestCall): Promise<UniversalServerResponse> {
  const request = await readRequest(call, "whole");
  const { modelName } = request;
  const whole = new WholeText(modelName, call.options.maxBodyBytes);
  let last: ModelInferResponse | undefined;
  for await (const response of answersOf(call, request)) {
    const text = textOf(response);
    // Pieces of a text are put together; of another model's answers none would be right.
    if (last && text === undefined) throw generateNeedsStream(modelName, "several");
    whole.add(text ?? "");
    last = response;
  }
  if (!last) throw generateNeedsStream(modelName, "none");
  return jsonResponse(200, encodeGenerate(last, whole.pieces > 1 ? whole.text : undefined));
}

/** Triton's generate extension: each answer an event, and an error after the first one too. */
export async function generateStream(call: RestCall): Promise<UniversalServerResponse> {
  const request = await readRequest(call, "pieces");
  return eventStreamResponse(events(call, await afterFirst(answersOf(call, request))));
}

async function* events(
  { match, options }: RestCall,
  answers: AsyncIterable<ModelInferResponse>,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const answer of answers) yield eventBytes(encodeGenerate(answer));
  } catch (thrown) {
    const error = fromUnknown(thrown);
    if (error.reason === "INTERNAL") options.onInternalError(error, match.route);
    yield eventBytes(errorJson(error));
  }
}

async function readRequest(call: RestCall, answer: "whole" | "pieces"): Promise<ModelInferRequest> {
  const { match, request, options } = call;
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const { inputs } = await metadataOf(call);
  const asks = inputs.some(({ name, datatype }) => name === streamInput && datatype === "BOOL");
  const nested = body.parameters;
  const given =
    Object.hasOwn(body, streamInput) ||
    (typeof nested === "object" && nested !== null && Object.hasOwn(nested, streamInput));
  const completed = asks && !given ? { ...body, [streamInput]: answer === "pieces" } : body;
  return decodeGenerate(match.model, match.version, completed, inputs);
}

async function* answersOf(
  call: RestCall,
  request: ModelInferRequest,
): AsyncGenerator<ModelInferResponse> {
  for await (const answer of modelAnswers(call, [request])) {
    const { triton_final_response: final } = answer.parameters;
    // The empty answer that a parameter asks for ends a stream of gRPC; one of HTTP ends by itself.
    if (answer.outputs.length === 0 && final?.parameterChoice.value === true) continue;
    yield answer;
  }
}
