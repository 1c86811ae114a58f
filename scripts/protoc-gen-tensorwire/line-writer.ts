/** Collects lines of code. */
export class LineWriter {
  readonly #lines: string[] = [];

  line(...parts: readonly string[]): void {
    this.#lines.push(parts.join(""));
  }

  lines(other: LineWriter): void {
    this.#lines.push(...other.#lines);
  }

  toString(): string {
    return this.#lines.length === 0 ? "" : `${this.#lines.join("\n")}\n`;
  }
}
