import { elementSize } from "../../../tensor/datatype.ts";
import type { Tensor } from "../../../tensor/tensor.ts";

/** Contents below this are copied into new memory, which costs no more. */
const leastBytes = 64 * 1024;

/** Contents above this are too, so that a session does not keep much memory for the next call. */
const mostBytes = 4 * 1024 * 1024;

/**
 * Memory for inputs that start off a boundary of their element size, as contents of a message mostly do.
 * It is used again by the next run: new memory is mapped and cleared page by page, and collected later.
 */
export class AlignedCopies {
  readonly #buffers = new Map<string, ArrayBuffer>();

  /**
   * The tensor itself, or the same with its contents on a boundary, until the next call for an input of
   * that name.
   */
  align(tensor: Tensor): Tensor {
    const { name, datatype, bytes } = tensor;
    if (!bytes || bytes.byteLength < leastBytes || bytes.byteLength > mostBytes) return tensor;
    if (bytes.byteOffset % elementSize(datatype) === 0) return tensor;
    let buffer = this.#buffers.get(name);
    if (!buffer || buffer.byteLength < bytes.byteLength) {
      buffer = new ArrayBuffer(bytes.byteLength);
      this.#buffers.set(name, buffer);
    }
    const copy = new Uint8Array(buffer, 0, bytes.byteLength);
    copy.set(bytes);
    return { ...tensor, bytes: copy };
  }
}
