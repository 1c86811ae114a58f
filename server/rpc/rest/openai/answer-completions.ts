import { randomUUID } from "node:crypto";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { parameterUnsupported } from "../../../errors/generation-errors.ts";
import { parameterInvalid } from "../../../errors/request-errors.ts";
import { type JsonObject, parseJsonObject } from "../json-object.ts";
import { readBody } from "../read-body.ts";
import type { RestCall } from "../rest-call.ts";
import { booleanField, field, givenText, integerField, stringField } from "./body-fields.ts";
import { completionLogprobs } from "./logprobs.ts";
import { readSampling, type TextRequest } from "./sampling-fields.ts";
import { answerTexts, type TextForm } from "./text-answers.ts";
import { findTextModel, type TextModel } from "./text-models.ts";

/** Tokens of a text where the request does not say; OpenAI's own default. */
const defaultMaxTokens = 16;

const own = ["prompt", "max_tokens", "logprobs", "echo", "best_of"];

/** OpenAI's completions: goes on with texts. */
export async function completions(call: RestCall): Promise<UniversalServerResponse> {
  const { request, options } = call;
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const model = await findTextModel(call, stringField(body, "model"));
  const asked = readCompletion(body, model);
  return answerTexts(
    call,
    model,
    asked,
    formOf(asked, booleanField(body, "echo") ? "prompt first" : "text only"),
  );
}

function readCompletion(body: JsonObject, { name, outputs }: TextModel): TextRequest {
  const { parameters, ...sampling } = readSampling(body, readPrompts(body), own);
  const bestOf = integerField(body, "best_of", { low: 1, high: Number.MAX_SAFE_INTEGER });
  if (bestOf !== undefined && bestOf !== sampling.n) {
    throw parameterUnsupported(
      "best_of",
      `texts are not compared; got ${bestOf} with n ${sampling.n}`,
    );
  }
  const logprobs = integerField(body, "logprobs", { low: 0, high: Number.MAX_SAFE_INTEGER });
  if (logprobs !== undefined) {
    if (!outputs.has("logprobs")) {
      throw parameterUnsupported("logprobs", `model "${name}" has no output logprobs`);
    }
    if (booleanField(body, "echo")) {
      throw parameterUnsupported("echo", "with logprobs, those of the prompt are not computed");
    }
  }
  const range = { low: 1, high: Number.MAX_SAFE_INTEGER };
  const maxTokens = integerField(body, "max_tokens", range) ?? defaultMaxTokens;
  return {
    ...sampling,
    model: name,
    parameters: {
      ...parameters,
      max_tokens: BigInt(maxTokens),
      ...(logprobs === undefined ? {} : { logprobs: BigInt(logprobs) }),
    },
  };
}

function readPrompts(body: JsonObject): readonly string[] {
  const value = field(body, "prompt");
  const prompts: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (prompts.length > 0 && prompts.every((each) => typeof each === "string")) {
    return prompts as readonly string[];
  }
  throw parameterInvalid("prompt", givenText(value), "a string or strings; tokens are not taken");
}

function formOf(
  { model, prompts, n, parameters }: TextRequest,
  echo: "prompt first" | "text only",
): TextForm {
  const id = `cmpl-${randomUUID().replaceAll("-", "")}`;
  const created = Math.floor(Date.now() / 1000);
  const withLogprobs = Object.hasOwn(parameters, "logprobs");
  const before = (choice: number): string =>
    echo === "prompt first" ? prompts[Math.floor(choice / n)]! : "";
  /** Characters of each text so far; of a text that has none yet the prompt may be still to come. */
  const lengths = new Map<number, number>();
  return {
    members: { id, created, model },
    object: { whole: "text_completion", chunk: "text_completion" },
    wholeChoice: ({ text, logprobs, finishReason }, choice) => ({
      index: choice,
      text: before(choice) + text,
      logprobs: withLogprobs ? completionLogprobs(logprobs, 0) : null,
      finish_reason: finishReason,
    }),
    chunkChoices({ choice, text, logprobs, finishReason }) {
      const length = lengths.get(choice);
      const shown = length === undefined ? before(choice) + text : text;
      lengths.set(choice, (length ?? 0) + [...shown].length);
      return [
        {
          index: choice,
          text: shown,
          logprobs: withLogprobs ? completionLogprobs(logprobs, length ?? 0) : null,
          finish_reason: finishReason ?? null,
        },
      ];
    },
  };
}
