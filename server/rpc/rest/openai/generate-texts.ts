import { create } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
} from "../../../../gen/inference/grpc_service_pb.ts";
import { joinBytesElements } from "../../../tensor/bytes-elements.ts";
import { jsonRanges } from "../../../tensor/json-data.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { responseTensors } from "../infer-codec.ts";
import { jsonParameter } from "../json-parameters.ts";
import { modelAnswers } from "../model-answers.ts";
import type { RestCall } from "../rest-call.ts";
import { readLogprob, type TokenLogprob } from "./logprobs.ts";
import type { TextRequest } from "./sampling-fields.ts";
import type { TextModel } from "./text-models.ts";

/** Why a text ended, by OpenAI's names. */
export type FinishReason = "stop" | "length" | "content_filter" | "tool_calls";

/** A piece of one of the texts that were asked for. */
export interface TextPiece {
  /** Which text: those of the first prompt come first. */
  readonly choice: number;
  readonly text: string;
  readonly logprobs: readonly TokenLogprob[];
  /** Bytes of both as the model gave them. */
  readonly bytes: number;
  /** Set in the last piece of a text. */
  readonly finishReason?: FinishReason;
}

/** Tokens, by OpenAI's names. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** Texts that are being generated. */
export interface GeneratedTexts {
  readonly pieces: AsyncIterable<TextPiece>;
  /** Tokens so far; `undefined` if the model does not count them. */
  usage(): Usage | undefined;
}

/** Outputs that are asked for where the model has them, beside those that a request needs. */
const alwaysAsked = ["text_output", "finish_reason", "num_input_tokens", "num_output_tokens"];

/**
 * Generates the texts of a request, all at once: each is a request of one ModelInfer stream, of a decoupled
 * model or another.
 *
 * @throws TensorwireError from the iteration: what the model, its queue and the call's end fail it with
 */
export function generateTexts(
  call: RestCall,
  model: TextModel,
  request: TextRequest,
): GeneratedTexts {
  const requests = inferRequests(model, request);
  const inputTokens = requests.map(() => 0);
  let outputTokens = 0;
  async function* pieces(): AsyncGenerator<TextPiece> {
    const reasons = requests.map(() => "");
    for await (const response of modelAnswers(call, requests)) {
      const choice = Number(response.id);
      const outputs = new Map(responseTensors(response).map((tensor) => [tensor.name, tensor]));
      reasons[choice] = textOf(outputs.get("finish_reason")) || reasons[choice]!;
      const counted = numberOf(outputs.get("num_input_tokens"));
      inputTokens[choice] = Math.max(inputTokens[choice]!, counted);
      outputTokens += numberOf(outputs.get("num_output_tokens"));
      const text = textOf(outputs.get("text_output"));
      const elements = outputs.get("logprobs")?.elements ?? [];
      const logprobs = elements.map((element) => readLogprob(model.name, element));
      const bytes = elements.reduce(
        (sum, { byteLength }) => sum + byteLength,
        Buffer.byteLength(text),
      );
      const final = response.parameters.triton_final_response?.parameterChoice.value === true;
      if (text === "" && logprobs.length === 0 && !final) continue;
      const end = final && { finishReason: finishReason(reasons[choice]!) };
      yield { choice, text, logprobs, bytes, ...end };
    }
  }
  return {
    pieces: pieces(),
    usage() {
      const { outputs } = model;
      if (!outputs.has("num_input_tokens") || !outputs.has("num_output_tokens")) return undefined;
      // A prompt counts once, however many texts it gets.
      const prompts = inputTokens.reduce(
        (sum, tokens, choice) => (choice % request.n === 0 ? sum + tokens : sum),
        0,
      );
      return {
        prompt_tokens: prompts,
        completion_tokens: outputTokens,
        total_tokens: prompts + outputTokens,
      };
    },
  };
}

function inferRequests(model: TextModel, request: TextRequest): ModelInferRequest[] {
  const asked = Object.hasOwn(request.parameters, "logprobs")
    ? [...alwaysAsked, "logprobs"]
    : alwaysAsked;
  const outputs = asked.filter((name) => model.outputs.has(name)).map((name) => ({ name }));
  const input = { name: "text_input", datatype: "BYTES", shape: model.shape.map(BigInt) };
  return Array.from({ length: request.prompts.length * request.n }, (_, choice) => {
    const prompt = request.prompts[Math.floor(choice / request.n)]!;
    const seed = request.seed === undefined ? undefined : wrapped(request.seed + BigInt(choice));
    const parameters = {
      ...request.parameters,
      ...(seed === undefined ? {} : { seed }),
      // Tells the end of a text whose model gives no finish_reason.
      triton_enable_empty_final_response: true,
    };
    return create(ModelInferRequestSchema, {
      modelName: model.name,
      id: `${choice}`,
      parameters: Object.fromEntries(
        Object.entries(parameters).map(([name, value]) => [name, jsonParameter(value, name)]),
      ),
      inputs: [input],
      outputs,
      rawInputContents: [joinBytesElements([Buffer.from(prompt)])],
    });
  });
}

function wrapped(seed: bigint): bigint {
  return BigInt.asIntN(64, seed);
}

function textOf(tensor: Tensor | undefined): string {
  return tensor?.elements?.map((element) => Buffer.from(element).toString()).join("") ?? "";
}

/** The sum of the elements; models count in whichever integers they like. */
function numberOf(tensor: Tensor | undefined): number {
  if (!tensor) return 0;
  const count = elementCount(tensor.shape);
  const values = JSON.parse(`[${jsonRanges(tensor)(0, count)}]`) as readonly number[];
  return values.reduce((sum, value) => sum + value, 0);
}

/** vLLM's and Triton's other reasons, such as `abort`, are none that OpenAI's clients know. */
function finishReason(given: string): FinishReason {
  return given === "length" || given === "content_filter" || given === "tool_calls"
    ? given
    : "stop";
}
