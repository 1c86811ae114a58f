import { constants } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Registry } from "prom-client";
import { messageOf } from "../errors/from-unknown.ts";
import { BoundCounter, type CounterCell } from "./bound-metrics.ts";
import type { Log } from "./log.ts";

/** Files that the folder may have. */
const maxFiles = 1000;
/** Bytes that may wait to be written; above it traces are left out. */
const maxWaitingBytes = 16 * 1024 * 1024;
/** Time for which a look at the sizes of the files holds, in ms. */
const measureMs = 1000;

/** Settings of a {@link TraceFolder}. */
export interface TraceFolderOptions {
  readonly path: string;
  /** Bytes that all files of the folder may have together, whoever wrote them. */
  readonly limitBytes: number;
  /** Put behind the names of files: of several processes each has files of its own. */
  readonly suffix: string;
  readonly registry: Registry;
  readonly log: Log;
}

/** A file that is written to. */
interface TraceFile {
  /** Of the next numbered file. */
  next: number;
  /** Whether the file without a number was begun anew by this process. */
  isBegun: boolean;
}

/** Why traces are left out. */
type DropReason = "folder_full" | "write_failed" | "buffer_full";

/**
 * The folder that traces are written to: what is written waits in a queue with a bound, files come one
 * after the other, and the folder grows no larger than its limit.
 */
export class TraceFolder {
  readonly #options: TraceFolderOptions;
  readonly #files = new Map<string, TraceFile>();
  readonly #written: CounterCell;
  readonly #dropped: BoundCounter;
  #writing: Promise<void> = Promise.resolve();
  #waitingBytes = 0;
  #size: { readonly at: number; bytes: number; files: number } = {
    at: -measureMs,
    bytes: 0,
    files: 0,
  };
  /** The log is told once, until writing goes well again. */
  #isFailing = false;

  /** Makes the folder if it is not there. @throws Error of the file system */
  static async open(options: TraceFolderOptions): Promise<TraceFolder> {
    await mkdir(options.path, { recursive: true, mode: 0o750 });
    const folder = new TraceFolder(options);
    await folder.#measure();
    return folder;
  }

  private constructor(options: TraceFolderOptions) {
    this.#options = options;
    const { registry } = options;
    this.#written = new BoundCounter({
      name: "tensorwire_traces_written_total",
      help: "Traces of calls that were written to files",
      registry,
    }).bind({});
    this.#dropped = new BoundCounter({
      name: "tensorwire_traces_dropped_total",
      help: "Traces of calls that were left out: the folder is full, a file cannot be written, or files are written too slowly",
      registry,
    });
  }

  /**
   * Writes traces, later.
   *
   * @param name - of the file, without a path
   * @param form - `numbered`: a new file with a number at its end; `whole`: behind what is there
   * @param text - JSON objects with commas between them
   * @param traces - how many they are of
   */
  write(name: string, form: "numbered" | "whole", text: string, traces: number): void {
    const bytes = Buffer.from(text);
    if (this.#waitingBytes + bytes.byteLength > maxWaitingBytes) {
      this.#drop("buffer_full", traces, "they come faster than files are written");
      return;
    }
    this.#waitingBytes += bytes.byteLength;
    this.#writing = this.#writing
      .then(() => this.#write(name, form, bytes, traces))
      .finally(() => {
        this.#waitingBytes -= bytes.byteLength;
      });
  }

  /** Resolves when all is written. */
  idle(): Promise<void> {
    return this.#writing;
  }

  async #write(
    name: string,
    form: "numbered" | "whole",
    bytes: Buffer,
    traces: number,
  ): Promise<void> {
    try {
      if (!(await this.#hasRoom(bytes.byteLength))) {
        this.#drop(
          "folder_full",
          traces,
          `the folder has ${this.#options.limitBytes} bytes or ${maxFiles} files`,
        );
        return;
      }
      const file = this.#fileOf(name);
      const path = join(this.#options.path, `${name}${this.#options.suffix}`);
      if (form === "numbered") await writeWhole(`${path}.${file.next++}`, bytes);
      else await append(path, bytes, file);
      this.#size.bytes += bytes.byteLength + 2;
      if (form === "numbered") this.#size.files++;
      this.#written.value += traces;
      this.#isFailing = false;
    } catch (error) {
      this.#drop("write_failed", traces, messageOf(error));
    }
  }

  #fileOf(name: string): TraceFile {
    let file = this.#files.get(name);
    if (!file) {
      // A name that comes back after so many others begins anew.
      if (this.#files.size >= maxFiles) this.#files.clear();
      file = { next: 0, isBegun: false };
      this.#files.set(name, file);
    }
    return file;
  }

  #drop(reason: DropReason, traces: number, why: string): void {
    this.#dropped.bind({ reason }).value += traces;
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#options.log.warn({ folder: this.#options.path, reason, why }, "traces are left out");
  }

  async #hasRoom(bytes: number): Promise<boolean> {
    const { limitBytes } = this.#options;
    // What others write and remove counts too.
    if (performance.now() - this.#size.at >= measureMs) await this.#measure();
    return this.#size.bytes + bytes <= limitBytes && this.#size.files < maxFiles;
  }

  async #measure(): Promise<void> {
    const { path } = this.#options;
    const names = await readdir(path);
    const sizes = await Promise.all(
      // One that is gone by now has no size.
      names.slice(0, maxFiles).map((name) =>
        stat(join(path, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    this.#size = {
      at: performance.now(),
      bytes: sizes.reduce((sum, size) => sum + size, 0),
      files: names.length,
    };
  }
}

/** A link in place of the file is not followed: it could lead out of the folder. */
const openFlags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;

/** Adds to a JSON array in a file, whose last bracket moves on; the file is JSON after every call. */
async function append(path: string, bytes: Buffer, file: TraceFile): Promise<void> {
  const handle = await open(path, file.isBegun ? openFlags : openFlags | constants.O_TRUNC, 0o640);
  try {
    const { size } = await handle.stat();
    // Somebody may have moved the file away, or emptied it.
    const begin = size < 2 ? "[" : ",";
    const position = size < 2 ? 0 : size - 1;
    await handle.write(Buffer.concat([Buffer.from(begin), bytes, Buffer.from("]")]), {
      position,
    });
    file.isBegun = true;
  } finally {
    await handle.close();
  }
}

/** Writes a file that is there whole or not at all. */
async function writeWhole(path: string, bytes: Buffer): Promise<void> {
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    const handle = await open(unfinished, openFlags | constants.O_TRUNC, 0o640);
    try {
      await handle.writeFile(Buffer.concat([Buffer.from("["), bytes, Buffer.from("]")]));
    } finally {
      await handle.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
