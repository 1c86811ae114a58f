/** Smallest message that is worth a buffer of the pool, in bytes: below it malloc is as good. */
export const pooledMessageBytes = 64 * 1024;

/** Bytes of free buffers that are kept; above it the one that was free for longest goes. */
const maxFreeBytes = 64 * 1024 * 1024;

/** A free buffer is taken for a message of at least this share of it. */
const leastUse = 0.5;

/** Buffers are a multiple of this, so that messages of nearly the same size share them. */
const granule = 64 * 1024;

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

  /** Gives back a buffer of {@link take}, which nobody looks at any more. */
  give(buffer: Buffer): void {
    if (buffer.length > maxFreeBytes) return;
    this.#free.push(buffer);
    this.#freeBytes += buffer.length;
    while (this.#freeBytes > maxFreeBytes) this.#freeBytes -= this.#free.shift()!.length;
  }
}

/** The pool of the process. */
export const messageBuffers = new MessageBuffers();
