import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** Bytes of which parts are looked at, in rising order for the most part. */
export interface ByteSource {
  readonly size: number;
  /**
   * Bytes from an offset on, fewer than asked for at the end; they are good until the next call.
   *
   * @throws Error if they cannot be read
   */
  view(offset: number, length: number): Uint8Array;
}

/** Bytes that are in memory. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.byteLength,
    view: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/** Read at once; most of what is skipped in a model are weights, larger than this. */
const windowBytes = 64 * 1024;

/** A file of which no more is in memory than the part that is looked at. Close it. */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #file: number;
  #window = Buffer.alloc(0);
  #start = 0;

  /** @throws Error of the system */
  constructor(path: string) {
    this.#file = openSync(path, "r");
    this.size = fstatSync(this.#file).size;
  }

  view(offset: number, length: number): Uint8Array {
    const end = Math.min(offset + length, this.size);
    if (offset < this.#start || end > this.#start + this.#window.byteLength) {
      this.#fill(offset, Math.max(end - offset, windowBytes));
    }
    return this.#window.subarray(offset - this.#start, end - this.#start);
  }

  /** Hands the file through in parts; each is good until the next. */
  *parts(): Generator<Uint8Array> {
    const buffer = Buffer.allocUnsafe(Math.min(1024 * 1024, Math.max(this.size, 1)));
    for (let offset = 0; ; ) {
      const read = readSync(this.#file, buffer, 0, buffer.byteLength, offset);
      if (read === 0) return;
      offset += read;
      yield buffer.subarray(0, read);
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #fill(offset: number, length: number): void {
    const buffer = Buffer.allocUnsafe(Math.max(Math.min(length, this.size - offset), 0));
    let filled = 0;
    while (filled < buffer.byteLength) {
      const read = readSync(
        this.#file,
        buffer,
        filled,
        buffer.byteLength - filled,
        offset + filled,
      );
      // The file was cut short since it was opened.
      if (read === 0) break;
      filled += read;
    }
    this.#window = buffer.subarray(0, filled);
    this.#start = offset;
  }
}
