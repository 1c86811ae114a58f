import { errorCode } from "./frame.ts";
import { ConnectionError } from "./http2-error.ts";

/** CONTINUATION frames that one header block may have. */
const maxContinuations = 128;

/** A header block whose end has not come yet. */
export class HeaderBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  /** True if the stream must be refused when the block is whole: it named itself as its parent. */
  readonly dependsOnItself: boolean;
  readonly #maxBytes: number;
  readonly #fragments: Buffer[] = [];
  #bytes = 0;
  #continuations = 0;

  /** @param maxBytes - of the encoded block */
  constructor(streamId: number, endStream: boolean, dependsOnItself: boolean, maxBytes: number) {
    this.streamId = streamId;
    this.endStream = endStream;
    this.dependsOnItself = dependsOnItself;
    this.#maxBytes = maxBytes;
  }

  /**
   * Adds a fragment, which is copied.
   *
   * @throws ConnectionError ENHANCE_YOUR_CALM if the block does not end (CVE-2024-27316)
   */
  add(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    this.#continuations++;
    if (this.#bytes > this.#maxBytes || this.#continuations > maxContinuations) {
      throw new ConnectionError(
        errorCode.enhanceYourCalm,
        `a header block of more than ${this.#maxBytes} bytes or ${maxContinuations} frames`,
        "header-block-size",
      );
    }
    this.#fragments.push(Buffer.from(bytes.subarray(start, end)));
  }

  whole(): Buffer {
    return Buffer.concat(this.#fragments, this.#bytes);
  }
}
