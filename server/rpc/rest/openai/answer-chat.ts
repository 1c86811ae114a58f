import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { ModelConfigRequestSchema } from "../../../../gen/inference/grpc_service_pb.ts";
import { messageOf } from "../../../errors/from-unknown.ts";
import { parameterUnsupported } from "../../../errors/generation-errors.ts";
import { modelConfigInvalid } from "../../../errors/model-errors.ts";
import { type JsonObject, parseJsonObject } from "../json-object.ts";
import { readBody } from "../read-body.ts";
import type { RestCall } from "../rest-call.ts";
import { booleanField, integerField, stringField } from "./body-fields.ts";
import { readMessages } from "./chat-messages.ts";
import { type ChatTemplate, defaultChatTemplate, readChatTemplate } from "./chat-template.ts";
import { chatLogprobs } from "./logprobs.ts";
import { type ParameterValue, readSampling, type TextRequest } from "./sampling-fields.ts";
import { answerTexts, type TextForm } from "./text-answers.ts";
import { findTextModel, type TextModel } from "./text-models.ts";

/** Parameter of a model's configuration. */
const templateParameter = "chat_template";

const own = ["messages", "max_tokens", "max_completion_tokens", "logprobs", "top_logprobs"];

const anyCount = { low: 0, high: Number.MAX_SAFE_INTEGER };

/** OpenAI's chat: writes the messages as a prompt by the model's template, and goes on with it. */
export async function chatCompletions(call: RestCall): Promise<UniversalServerResponse> {
  const { request, options } = call;
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const model = await findTextModel(call, stringField(body, "model"));
  const messages = readMessages(body);
  const prompt = (await templateOf(call, model.name))(messages);
  const asked = readChat(body, prompt, model);
  return answerTexts(call, model, asked, formOf(asked));
}

async function templateOf({ context, options }: RestCall, name: string): Promise<ChatTemplate> {
  const request = create(ModelConfigRequestSchema, { name });
  const { config } = await options.backend.modelConfig(request, context);
  const template = config?.parameters?.[templateParameter]?.stringValue ?? defaultChatTemplate;
  try {
    return readChatTemplate(template);
  } catch (error) {
    throw modelConfigInvalid(name, `has a ${templateParameter} that is none: ${messageOf(error)}`);
  }
}

function readChat(body: JsonObject, prompt: string, { name, outputs }: TextModel): TextRequest {
  const { parameters, ...sampling } = readSampling(body, [prompt], own);
  const more: Record<string, ParameterValue> = {};
  const top = integerField(body, "top_logprobs", anyCount);
  if (booleanField(body, "logprobs")) {
    if (!outputs.has("logprobs")) {
      throw parameterUnsupported("logprobs", `model "${name}" has no output logprobs`);
    }
    more.logprobs = BigInt(top ?? 0);
  } else if (top !== undefined) {
    throw parameterUnsupported("top_logprobs", "it needs logprobs true");
  }
  const range = { ...anyCount, low: 1 };
  const maxTokens =
    integerField(body, "max_completion_tokens", range) ?? integerField(body, "max_tokens", range);
  if (maxTokens !== undefined) more.max_tokens = BigInt(maxTokens);
  return { ...sampling, model: name, parameters: { ...parameters, ...more } };
}

function formOf({ model, parameters }: TextRequest): TextForm {
  const id = `chatcmpl-${randomUUID().replaceAll("-", "")}`;
  const created = Math.floor(Date.now() / 1000);
  const withLogprobs = Object.hasOwn(parameters, "logprobs");
  const begun = new Set<number>();
  return {
    members: { id, created, model },
    object: { whole: "chat.completion", chunk: "chat.completion.chunk" },
    wholeChoice: ({ text, logprobs, finishReason }, choice) => ({
      index: choice,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: withLogprobs ? chatLogprobs(logprobs) : null,
      finish_reason: finishReason,
    }),
    chunkChoices({ choice, text, logprobs, finishReason }) {
      const choices: object[] = [];
      const add = (delta: object, of = logprobs, finish: string | null = null): void => {
        const shown = withLogprobs && of.length > 0 ? chatLogprobs(of) : null;
        choices.push({ index: choice, delta, logprobs: shown, finish_reason: finish });
      };
      if (!begun.has(choice)) add({ role: "assistant", content: "", refusal: null }, []);
      begun.add(choice);
      if (text !== "" || logprobs.length > 0) add({ content: text });
      if (finishReason) add({}, [], finishReason);
      return choices;
    },
  };
}
