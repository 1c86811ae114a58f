/** Smallest message that is worth a buffer of the pool, in bytes: below it malloc is as good. */
export const pooledMessageBytes = 64 * 1024;

/** Bytes of free buffers that are kept; above it the one that was free for longest goes. */
const maxFreeBytes = 64 * 1024 * 1024;

/** A free buffer is taken for a message of at least this share of it. */
const leastUse = 0.5;

/** Buffers are a multiple of this, so that messages of nearly the same size share them. */
const granule = 64 * 1024;

/** Size of the largest element of a tensor, in bytes. */
const boundary = 8;

/**
 * Buffers for large messages, used again: new memory of some megabytes costs more to map and to clear
 * than to fill, and each buffer that is dropped brings the next collection of garbage nearer. One pool
 * serves all connections of a process.
 */
export class MessageBuffers {
  /** From the longest free to the last. */
  readonly #free: Buffer[] = [];
  #freeBytes = 0;

  /** Bytes that are kept for later messages. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer that holds at least so many bytes; its contents are those of an earlier message. */
  take(bytes: number): Buffer {
    for (let index = this.#free.length - 1; index >= 0; index--) {
      const buffer = this.#free[index]!;
      if (buffer.length < bytes || bytes < buffer.length * leastUse) continue;
      this.#free.splice(index, 1);
      this.#freeBytes -= buffer.length;
      return buffer;
    }
    return Buffer.allocUnsafeSlow(Math.ceil(bytes / granule) * granule);
  }

  /** A buffer for a message of so many bytes, which {@link placeMessage} puts into it. */
  takeFor(messageBytes: number): Buffer {
    return this.take(messageBytes + boundary - 1);
  }

  /** Gives back a buffer of {@link take}, which nobody looks at any more. */
  give(buffer: Buffer): void {
    if (buffer.length > maxFreeBytes) return;
    this.#free.push(buffer);
    this.#freeBytes += buffer.length;
    while (this.#freeBytes > maxFreeBytes) this.#freeBytes -= this.#free.shift()!.length;
  }
}

/**
 * The part of a buffer of {@link MessageBuffers.takeFor} in which a message goes: it ends on a boundary of 8
 * bytes. What ends a ModelInferRequest is the contents of its last input, which have a whole number of
 * elements, and so begin on a boundary of theirs: a model can read them where they lie.
 */
export function placeMessage(buffer: Buffer, messageBytes: number): Buffer {
  const start = (boundary - (messageBytes % boundary)) % boundary;
  return buffer.subarray(start, start + messageBytes);
}

/** The pool of the process. */
export const messageBuffers = new MessageBuffers();
