import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { FinishReason } from "./generation-observation.ts";

/** A token with the natural logarithm of its probability by the model. */
export interface TextToken {
  readonly token: number;
  /** Text of this token alone. */
  readonly text: string;
  readonly logprob: number;
}

/** A generated token, and the likeliest ones in its place. */
export interface TokenLogprobs extends TextToken {
  /** Falling, as many as were asked for. */
  readonly top: readonly TextToken[];
}

/** Tokens of a generation. */
export interface TokenUsage {
  /** With the start token. */
  readonly promptTokens: number;
  /** With the end token, and with those whose text a stop string cut off. */
  readonly generatedTokens: number;
}

/** A piece of a generation. */
export interface TextChunk {
  /** Follows on the text of the chunk before; empty in a last one that has nothing to add. */
  readonly text: string;
  /** Tokens since the chunk before. Their text may be longer than `text`: a stop string is cut off. */
  readonly tokens: readonly number[];
  /** One for each of `tokens`, if `logprobs` was asked for. */
  readonly logprobs?: readonly TokenLogprobs[];
  /** In the last chunk, and only there. */
  readonly finishReason?: FinishReason;
  /** In the last chunk, and only there. */
  readonly usage?: TokenUsage;
}

type End =
  | { readonly kind: "open" }
  | { readonly kind: "finished"; readonly reason: FinishReason; readonly usage: TokenUsage }
  | { readonly kind: "failed"; readonly error: TensorwireError }
  | { readonly kind: "given" };

const open: End = { kind: "open" };
const given: End = { kind: "given" };

/**
 * The chunks of one generation, between the loop that makes them and the one reader. What the reader has
 * not taken is put together in one chunk, so a slow reader holds up nobody, and what waits for it is never
 * more than the text of one generation.
 */
export class TextStream implements AsyncIterableIterator<TextChunk> {
  readonly #cancel: () => void;
  #text = "";
  #tokens: number[] = [];
  #logprobs: TokenLogprobs[] | undefined;
  #end: End = open;
  #wake: (() => void) | undefined;

  /** @param cancel - called when the reader leaves before the end; must lead to `finish` or `fail` */
  constructor(cancel: () => void) {
    this.#cancel = cancel;
  }

  /** Adds a token; it comes out with the next text, or with the last chunk. */
  addToken(token: number, logprobs: TokenLogprobs | undefined): void {
    this.#tokens.push(token);
    if (!logprobs) return;
    this.#logprobs ??= [];
    this.#logprobs.push(logprobs);
  }

  addText(text: string): void {
    if (text === "") return;
    this.#text += text;
    this.#notify();
  }

  finish(reason: FinishReason, usage: TokenUsage): void {
    this.#end = { kind: "finished", reason, usage };
    this.#notify();
  }

  /** Lets the reader have what came before, and then throws. */
  fail(error: TensorwireError): void {
    this.#end = { kind: "failed", error };
    this.#notify();
  }

  /** Ends the generation; the reader gets what there is, and `cancelled`. */
  cancel(): void {
    this.#cancel();
  }

  async next(): Promise<IteratorResult<TextChunk, undefined>> {
    while (this.#text === "" && this.#end.kind === "open") {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const end = this.#end;
    if (end.kind === "given") return { done: true, value: undefined };
    if (end.kind === "failed" && this.#text === "") {
      this.#end = given;
      throw end.error;
    }
    const chunk: TextChunk = {
      text: this.#text,
      tokens: this.#tokens,
      ...(this.#logprobs && { logprobs: this.#logprobs }),
      ...(end.kind === "finished" && { finishReason: end.reason, usage: end.usage }),
    };
    this.#text = "";
    this.#tokens = [];
    this.#logprobs = undefined;
    if (end.kind === "finished") this.#end = given;
    return { done: false, value: chunk };
  }

  /** The reader leaves, as `break` in its loop does: the generation is cancelled. */
  async return(): Promise<IteratorResult<TextChunk, undefined>> {
    if (this.#end.kind === "open") this.#cancel();
    this.#text = "";
    this.#end = given;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
