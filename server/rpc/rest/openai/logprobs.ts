import { modelExecutionFailed } from "../../../errors/model-errors.ts";

/** A token, and the natural logarithm of its probability. */
export interface RankedToken {
  readonly token: string;
  readonly logprob: number;
}

/** A generated token and the likeliest ones in its place: an element of the output `logprobs`, in JSON. */
export interface TokenLogprob extends RankedToken {
  /** Falling. */
  readonly top_logprobs: readonly RankedToken[];
}

/** Logarithms of probabilities in the form of completions. */
export interface CompletionLogprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  /** Where each token begins in the text, in characters. */
  readonly text_offset: readonly number[];
}

/** Logarithms of probabilities in the form of chats. */
export interface ChatLogprobs {
  readonly content: readonly object[];
  readonly refusal: null;
}

/** @throws TensorwireError `MODEL_EXECUTION_FAILED` if an element of the output `logprobs` is none */
export function readLogprob(model: string, element: Uint8Array): TokenLogprob {
  const text = Buffer.from(element).toString();
  try {
    const { token, logprob, top_logprobs: top = [] } = JSON.parse(text) as Partial<TokenLogprob>;
    const ranked = [{ token, logprob }, ...top];
    if (
      ranked.every((each) => typeof each.token === "string" && typeof each.logprob === "number")
    ) {
      return { token, logprob, top_logprobs: top } as TokenLogprob;
    }
  } catch {
    // What it gave says as much as where the parse ended.
  }
  const given = text.length > 80 ? `${text.slice(0, 80)}...` : text;
  throw modelExecutionFailed(model, `its output logprobs has the element ${given}`);
}

/**
 * @param offset - characters of the text before these tokens
 */
export function completionLogprobs(
  logprobs: readonly TokenLogprob[],
  offset: number,
): CompletionLogprobs {
  let at = offset;
  return {
    tokens: logprobs.map(({ token }) => token),
    token_logprobs: logprobs.map(({ logprob }) => logprob),
    // The chosen token is there even if others are likelier, so there may be one more than asked for.
    top_logprobs: logprobs.map(({ token, logprob, top_logprobs }) =>
      Object.fromEntries(
        [...top_logprobs, { token, logprob }].map((each) => [each.token, each.logprob]),
      ),
    ),
    text_offset: logprobs.map(({ token }) => {
      const begin = at;
      at += [...token].length;
      return begin;
    }),
  };
}

/** The same in the form of chats. */
export function chatLogprobs(logprobs: readonly TokenLogprob[]): ChatLogprobs {
  const content = logprobs.map(({ top_logprobs: top, ...chosen }) => ({
    ...withBytes(chosen),
    top_logprobs: top.map(withBytes),
  }));
  return { content, refusal: null };
}

function withBytes({ token, logprob }: RankedToken): object {
  return { token, logprob, bytes: [...Buffer.from(token)] };
}
