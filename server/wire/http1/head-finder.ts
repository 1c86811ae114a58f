import { Http1Error } from "./http1-error.ts";

const headEnd = Buffer.from("\r\n\r\n", "latin1");

/**
 * Finds heads in what a connection brings. Peers that repeat themselves cost a comparison of bytes: a
 * head that is the same as the last one is given again, the same object.
 */
export class HeadFinder<Head> {
  readonly #parse: (text: string) => Head;
  readonly #maxBytes: number;
  #lastBytes: Buffer | undefined;
  #last: Head | undefined;
  /** Where the content begins that follows the head that was found. */
  end = 0;

  /** @param maxBytes - of a head; a longer one is refused with 431 */
  constructor(parse: (text: string) => Head, maxBytes: number) {
    this.#parse = parse;
    this.#maxBytes = maxBytes;
  }

  /**
   * @returns the head that begins at a place; `undefined` while it is not whole
   * @throws Http1Error if it is none, or too long
   */
  find(bytes: Buffer, start: number): Head | undefined {
    const last = this.#lastBytes;
    if (last !== undefined && start + last.length <= bytes.length) {
      if (bytes.compare(last, 0, last.length, start, start + last.length) === 0) {
        this.end = start + last.length;
        return this.#last;
      }
    }
    const found = bytes.indexOf(headEnd, start);
    const length = (found === -1 ? bytes.length : found) - start;
    if (length > this.#maxBytes) {
      throw new Http1Error(431, `a head of more than ${this.#maxBytes} bytes`);
    }
    if (found === -1) return undefined;
    const head = this.#parse(bytes.toString("latin1", start, found));
    this.end = found + headEnd.length;
    this.#last = head;
    // A copy: a view would keep all that came with it.
    this.#lastBytes = Buffer.from(bytes.subarray(start, this.end));
    return head;
  }
}
