import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { fromUnknown } from "../../../errors/from-unknown.ts";
import { answerTooLarge } from "../../../errors/generation-errors.ts";
import { afterFirst, eventBytes, eventStreamResponse } from "../event-stream.ts";
import { jsonResponse } from "../json-response.ts";
import type { RestCall } from "../rest-call.ts";
import {
  type FinishReason,
  type GeneratedTexts,
  generateTexts,
  type TextPiece,
} from "./generate-texts.ts";
import type { TokenLogprob } from "./logprobs.ts";
import { openaiErrorJson } from "./openai-error.ts";
import type { TextRequest } from "./sampling-fields.ts";
import type { TextModel } from "./text-models.ts";

/** A text that is whole. */
export interface FinishedText {
  readonly text: string;
  readonly logprobs: readonly TokenLogprob[];
  readonly finishReason: FinishReason;
}

/** How texts are put into objects. */
export interface TextForm {
  /** Members that every object of the answer has. */
  readonly members: Readonly<Record<string, unknown>>;
  /** Values of the member `object`: of the answer as a whole, and of a part of it. */
  readonly object: { readonly whole: string; readonly chunk: string };
  wholeChoice(text: FinishedText, choice: number): object;
  /** Choices of the chunks that a piece makes. */
  chunkChoices(piece: TextPiece): readonly object[];
}

/** Generates the texts of a request and answers them, whole or as events. */
export async function answerTexts(
  call: RestCall,
  model: TextModel,
  request: TextRequest,
  form: TextForm,
): Promise<UniversalServerResponse> {
  const texts = generateTexts(call, model, request);
  if (request.stream) {
    const pieces = await afterFirst(texts.pieces);
    return eventStreamResponse(events(call, { ...texts, pieces }, request, form));
  }
  const choices = await wholeTexts(texts, request, call.options.maxBodyBytes);
  const usage = texts.usage();
  return jsonResponse(
    200,
    JSON.stringify({
      ...form.members,
      object: form.object.whole,
      choices: choices.map((text, choice) => form.wholeChoice(text, choice)),
      ...(usage && { usage }),
    }),
  );
}

async function wholeTexts(
  { pieces }: GeneratedTexts,
  { model, prompts, n }: TextRequest,
  maxBytes: number,
): Promise<FinishedText[]> {
  const texts = Array.from({ length: prompts.length * n }, () => ({
    parts: [] as string[],
    logprobs: [] as TokenLogprob[],
    finishReason: "stop" as FinishReason,
  }));
  let size = 0;
  for await (const { choice, text, logprobs, bytes, finishReason } of pieces) {
    const of = texts[choice]!;
    size += bytes;
    if (size > maxBytes) throw answerTooLarge(model, maxBytes);
    of.parts.push(text);
    of.logprobs.push(...logprobs);
    if (finishReason) of.finishReason = finishReason;
  }
  return texts.map(({ parts, ...others }) => ({ text: parts.join(""), ...others }));
}

async function* events(
  { options, match }: RestCall,
  texts: GeneratedTexts,
  request: TextRequest,
  form: TextForm,
): AsyncGenerator<Uint8Array> {
  const object = form.object.chunk;
  // OpenAI's API has the member in every chunk if one of them has a value.
  const none = request.includeUsage ? { usage: null } : {};
  try {
    for await (const piece of texts.pieces) {
      for (const choice of form.chunkChoices(piece)) {
        const chunk = { ...form.members, object, choices: [choice], ...none };
        yield eventBytes(JSON.stringify(chunk));
      }
    }
    if (request.includeUsage) {
      const usage = texts.usage() ?? null;
      yield eventBytes(JSON.stringify({ ...form.members, object, choices: [], usage }));
    }
    yield eventBytes("[DONE]");
  } catch (thrown) {
    const error = fromUnknown(thrown);
    if (error.reason === "INTERNAL") options.onInternalError(error, match.route);
    yield eventBytes(openaiErrorJson(error));
  }
}
