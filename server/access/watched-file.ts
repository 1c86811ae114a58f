import { readFile, stat } from "node:fs/promises";
import { messageOf } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";

/** Largest file that is read, in bytes. */
const maxFileBytes = 16 * 1024 * 1024;

/** What a {@link WatchedFile} is made of. */
export interface WatchedFileOptions {
  readonly path: string;
  /** Time between two looks, in ms. */
  readonly intervalMs: number;
  /**
   * Takes what the file has; the first time too.
   *
   * @throws TensorwireError if it is not what it should be; what was taken before stays
   */
  readonly take: (text: string) => void;
  /** Told how each look that found a change went. */
  readonly onReload: (outcome: "taken" | "failed") => void;
  readonly log: Log;
}

/**
 * A file that is taken again when it changes. It is looked at time and again, as events of the file
 * system do not tell of a link that is swapped, which is how Kubernetes changes mounted ConfigMaps and
 * Secrets.
 */
export class WatchedFile {
  readonly #options: WatchedFileOptions;
  #version = "";
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: WatchedFileOptions) {
    this.#options = options;
  }

  /**
   * Takes the file, and goes on to look at it.
   *
   * @throws Error if the file cannot be read, or what `take` throws
   */
  static async open(options: WatchedFileOptions): Promise<WatchedFile> {
    const file = new WatchedFile(options);
    // The version comes first: a change between the two is seen at the next look.
    file.#version = await versionOf(options.path);
    options.take(await readText(options.path));
    file.#lookLater();
    return file;
  }

  /** Looks no more. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #lookLater(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => this.#lookLater());
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { path, take, onReload, log } = this.#options;
    let version: string;
    try {
      version = await versionOf(path);
    } catch (error) {
      // A file that is away stays one failure until it is there again.
      version = messageOf(error);
    }
    if (version === this.#version || this.#closed) return;
    this.#version = version;
    try {
      take(await readText(path));
      onReload("taken");
      log.info({ file: path }, "the file has changed and was taken");
    } catch (error) {
      onReload("failed");
      log.error(
        { file: path, why: messageOf(error) },
        "the file has changed and cannot be taken; what it had before holds on",
      );
    }
  }
}

/** Differs when the file, or where a link on its path leads, has changed. */
async function versionOf(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

async function readText(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > maxFileBytes)
    throw new Error(`${path} has ${size} bytes, the limit is ${maxFileBytes}`);
  return await readFile(path, "utf8");
}
