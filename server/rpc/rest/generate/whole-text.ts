import { answerTooLarge } from "../../../errors/generation-errors.ts";

/** A text that is put together of the pieces in which a model gives it. */
export class WholeText {
  readonly #model: string;
  readonly #maxBytes: number;
  readonly #pieces: string[] = [];
  #bytes = 0;

  /** @param maxBytes - most bytes of the text in UTF-8 */
  constructor(model: string, maxBytes: number) {
    this.#model = model;
    this.#maxBytes = maxBytes;
  }

  /** Pieces so far. */
  get pieces(): number {
    return this.#pieces.length;
  }

  get text(): string {
    return this.#pieces.join("");
  }

  /** @throws TensorwireError `ANSWER_TOO_LARGE` */
  add(piece: string): void {
    this.#bytes += Buffer.byteLength(piece);
    if (this.#bytes > this.#maxBytes) throw answerTooLarge(this.#model, this.#maxBytes);
    this.#pieces.push(piece);
  }
}
