const encoder = new TextEncoder();

/** Characters that are gathered before they are encoded. */
const flushCharacters = 64 * 1024;

/** Gathers texts to UTF-8. A large answer never is one string: strings end at 2^29 characters. */
export class JsonWriter {
  #text = "";
  readonly #parts: Uint8Array[] = [];

  /** @param text - whole characters, no half of a surrogate pair */
  write(text: string): void {
    this.#text += text;
    if (this.#text.length >= flushCharacters) this.#flush();
  }

  /** All that was written; the writer is empty after it. */
  end(): Uint8Array[] {
    if (this.#text !== "") this.#flush();
    return this.#parts.splice(0);
  }

  #flush(): void {
    this.#parts.push(encoder.encode(this.#text));
    this.#text = "";
  }
}
