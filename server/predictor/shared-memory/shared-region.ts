import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  read,
  readSync,
  write,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../../errors/from-unknown.ts";
import {
  sharedMemoryRangeInvalid,
  sharedMemoryUnavailable,
} from "../../errors/shared-memory-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import { objectName } from "./names.ts";

const readLater = promisify(read);
const writeLater = promisify(write);

/** Where a region lies. */
export interface RegionPlace {
  readonly name: string;
  /** Of the shared memory object: a name under /dev/shm, with a slash before it or without. */
  readonly key: string;
  /** Where it begins in the object, in bytes. */
  readonly offset: number;
  readonly byteSize: number;
}

/**
 * A part of a shared memory object, read and written through its file: Node cannot map memory. It stays open
 * while a call holds it, also when it is no longer registered.
 */
export class SharedRegion {
  readonly place: RegionPlace;
  readonly #descriptor: number;
  #holders = 1;

  private constructor(place: RegionPlace, descriptor: number) {
    this.place = place;
    this.#descriptor = descriptor;
  }

  /**
   * Opens an object that is there. It is no link, and a file; it is never made or resized.
   *
   * @param folder - where objects are: /dev/shm
   * @throws TensorwireError `SHARED_MEMORY_NAME_INVALID`, `SHARED_MEMORY_UNAVAILABLE`,
   * `SHARED_MEMORY_RANGE_INVALID` for a region that is not within the object
   */
  static open(place: RegionPlace, folder: string): SharedRegion {
    const { name, key, offset, byteSize } = place;
    const path = join(folder, objectName(key));
    let descriptor: number;
    try {
      // A pipe would hold the thread up until somebody writes.
      const flags = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      descriptor = openSync(path, flags);
    } catch (error) {
      throw sharedMemoryUnavailable(name, key, openFailure(error), error);
    }
    try {
      const stats = fstatSync(descriptor);
      if (!stats.isFile()) throw sharedMemoryUnavailable(name, key, "is no file; expected memory");
      if (offset + byteSize > stats.size) {
        const where = `shared memory region '${name}' of object "${key}"`;
        throw sharedMemoryRangeInvalid(name, where, { offset, byteSize }, stats.size);
      }
      return new SharedRegion(place, descriptor);
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
  }

  /** Keeps it open for a call. */
  hold(): void {
    this.#holders++;
  }

  /** The call, or the table of regions, needs it no more. */
  release(): void {
    this.#holders--;
    if (this.#holders === 0) closeSync(this.#descriptor);
  }

  /**
   * Copies bytes out of the region.
   *
   * @param offset - within the region; the range was checked
   * @throws TensorwireError `SHARED_MEMORY_UNAVAILABLE` if the object has become shorter
   */
  read(offset: number, byteSize: number): Uint8Array {
    const bytes = Buffer.allocUnsafeSlow(byteSize);
    let done = 0;
    while (done < byteSize) {
      const read = this.#attempt(() =>
        readSync(this.#descriptor, bytes, done, byteSize - done, this.place.offset + offset + done),
      );
      if (read === 0) throw this.#shortened(offset + byteSize);
      done += read;
    }
    return bytes;
  }

  /** The same in another thread; whoever asks holds the region. */
  async readLater(offset: number, byteSize: number): Promise<Uint8Array> {
    const bytes = Buffer.allocUnsafeSlow(byteSize);
    let done = 0;
    while (done < byteSize) {
      const position = this.place.offset + offset + done;
      const { bytesRead } = await readLater(
        this.#descriptor,
        bytes,
        done,
        byteSize - done,
        position,
      ).catch((error: unknown) => this.#fail(error));
      if (bytesRead === 0) throw this.#shortened(offset + byteSize);
      done += bytesRead;
    }
    return bytes;
  }

  /**
   * Copies bytes into the region.
   *
   * @param offset - within the region; the range was checked
   * @throws TensorwireError `SHARED_MEMORY_UNAVAILABLE` if there is no memory for it
   */
  write(offset: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.byteLength) {
      const left = bytes.byteLength - done;
      const position = this.place.offset + offset + done;
      done += this.#attempt(() => writeSync(this.#descriptor, bytes, done, left, position));
    }
  }

  /** The same in another thread; whoever asks holds the region. */
  async writeLater(offset: number, bytes: Uint8Array): Promise<void> {
    let done = 0;
    while (done < bytes.byteLength) {
      const position = this.place.offset + offset + done;
      const { bytesWritten } = await writeLater(
        this.#descriptor,
        bytes,
        done,
        bytes.byteLength - done,
        position,
      ).catch((error: unknown) => this.#fail(error));
      done += bytesWritten;
    }
  }

  #attempt(action: () => number): number {
    try {
      return action();
    } catch (error) {
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    const { name, key } = this.place;
    const why = `cannot be read or written: ${messageOf(error)}`;
    throw sharedMemoryUnavailable(name, key, why, error);
  }

  /** @param end - of what was asked for, within the region */
  #shortened(end: number): TensorwireError {
    const { name, key, offset } = this.place;
    const why = `has become shorter than the ${offset + end} bytes that are asked of it`;
    return sharedMemoryUnavailable(name, key, why);
  }
}

function openFailure(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
      return "is not there; create it, and see that the server shares /dev/shm";
    case "EACCES":
    case "EPERM":
      return "may not be read and written by the server; create it with rights for its user";
    case "ELOOP":
      return "is a symbolic link, which is not followed";
    default:
      return `cannot be opened: ${messageOf(error)}`;
  }
}
