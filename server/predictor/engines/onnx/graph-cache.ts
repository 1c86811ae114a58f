import { createHash, randomUUID } from "node:crypto";
import {
  chmod,
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { messageOf } from "../../../errors/from-unknown.ts";
import { FileSource } from "./byte-source.ts";
import { readModelOutline } from "./model-outline.ts";

/** Where graphs are kept that ONNX Runtime has optimised. */
export interface GraphCacheOptions {
  /** Folder that holds the cache's own folder; it is made if it is not there. */
  readonly folder: string;
  /** All graphs together take at most so many bytes. */
  readonly maxBytes: number;
}

/** What became of a look into the cache. */
export type GraphCacheOutcome =
  /** The graph was there. */
  | "hit"
  /** It was not, and is now. */
  | "stored"
  /** It was there and damaged; a new one is in its place. */
  | "replaced"
  /** It was not there and could not be kept. */
  | "failed";

/** An outcome, and why it is the last. */
export interface GraphCacheReport {
  readonly outcome: GraphCacheOutcome;
  readonly why?: string;
  /** Bytes of all graphs, where they were counted. */
  readonly bytes?: number;
}

/** Its own folder in the one that is given, which others may write to. */
const ownFolder = "tensorwire-graphs";
/** A graph: its key, its size in bytes, and its CRC-32, so that it is seen whether all of it is there. */
const graphName = /^([0-9a-f]{64})-(\d{1,15})-([0-9a-f]{8})\.onnx$/;
/** Names the contents of a file that has not changed since they were read. */
const hashSuffix = ".hash";
/** Says which file was whole under a key, as the file system knows it, and by its time when it was used. */
const seenSuffix = ".seen";
const unfinishedSuffix = ".part";
const mostHashes = 1024;
/** Age in ms from which on what another process has begun to write will not be finished. */
const abandonedMs = 60 * 60 * 1000;
/** A file that was changed less than this ago, in ms, may change again with the same times. */
const settledMs = 2_000;

/**
 * Keeps graphs as ONNX Runtime has optimised them, by what they were made from. The folder belongs to the
 * user of the process alone: a graph is a model, and who could write one could give any answer.
 *
 * Several processes may share it: a graph is written under another name and then renamed.
 */
export class GraphCache {
  readonly #folder: string;
  readonly #maxBytes: number;
  readonly #now: () => number;

  /** @param now - wall clock in ms */
  constructor({ folder, maxBytes }: GraphCacheOptions, now: () => number = Date.now) {
    this.#folder = join(folder, ownFolder);
    this.#maxBytes = maxBytes;
    this.#now = now;
  }

  /**
   * Makes the folder, and sees to it that it is nobody else's.
   *
   * @throws Error if it cannot be used
   */
  async open(): Promise<void> {
    await makeFolder(this.#folder);
    const found = await lstat(this.#folder);
    if (!found.isDirectory()) throw new Error(`${this.#folder} is no folder`);
    // Windows has neither users nor modes.
    const own = process.getuid?.();
    if (own === undefined) return;
    if (found.uid !== own)
      throw new Error(`${this.#folder} belongs to another user (${found.uid})`);
    if ((found.mode & 0o077) !== 0) {
      const mode = (found.mode & 0o777).toString(8);
      throw new Error(`${this.#folder} is open to other users (mode ${mode}), expected 700`);
    }
  }

  /**
   * The SHA-256 of a file, in hexadecimal. Of one that was hashed before and has not changed since, by
   * what the file system says of it, it is remembered.
   *
   * @throws Error if the file cannot be read
   */
  async hashOf(path: string): Promise<string> {
    const { identity, changedMs } = await identify(path);
    const name = createHash("sha256").update(identity).digest("hex");
    const remembered = join(this.#folder, `${name}${hashSuffix}`);
    const before = await readFile(remembered, "latin1").catch(() => "");
    if (/^[0-9a-f]{64}$/.test(before)) return before;
    const hash = createHash("sha256");
    const file = new FileSource(path);
    try {
      for (const part of file.parts()) hash.update(part);
    } finally {
      file.close();
    }
    const digest = hash.digest("hex");
    if (this.#now() - changedMs > settledMs) {
      // It is computed again where it cannot be remembered.
      await this.#writeWhole(remembered, digest).catch(() => undefined);
    }
    return digest;
  }

  /**
   * Path of the graph under a key; "damaged" if there was one that is not what was stored, which is gone
   * now.
   *
   * @throws Error if the folder cannot be read
   */
  async find(key: string): Promise<{ readonly path: string } | "absent" | "damaged"> {
    const name = (await readdir(this.#folder)).find((each) => each.startsWith(`${key}-`));
    if (name === undefined) return "absent";
    const path = join(this.#folder, name);
    const { identity } = await identify(path);
    const seen = this.#seenPath(key);
    // Nobody has written to it since it was stored, or was read to the end.
    if ((await readFile(seen, "latin1").catch(() => "")) === identity) {
      const now = new Date(this.#now());
      // What was used last goes last; a folder that cannot be written keeps the order it has.
      await utimes(seen, now, now).catch(() => undefined);
      return { path };
    }
    if (!isWhole(path, name)) {
      await this.drop(path);
      return "damaged";
    }
    await this.#writeWhole(seen, identity).catch(() => undefined);
    return { path };
  }

  /** Where ONNX Runtime may write a graph for {@link store}. */
  unfinishedPath(): string {
    return join(this.#folder, `${process.pid}-${randomUUID()}${unfinishedSuffix}`);
  }

  /**
   * Puts the graph that was written to an unfinished path under a key, and removes the graphs that were
   * not used for longest until all fit.
   *
   * @returns bytes of all graphs
   * @throws Error if it is too large, not whole, or cannot be written
   */
  async store(key: string, unfinished: string): Promise<number> {
    const { size, crc } = measure(unfinished);
    if (size > this.#maxBytes) {
      throw new Error(`the graph takes ${size} bytes, the whole cache may take ${this.#maxBytes}`);
    }
    await chmod(unfinished, 0o600);
    const path = join(this.#folder, `${key}-${size}-${crc}.onnx`);
    await rename(unfinished, path);
    await this.#writeWhole(this.#seenPath(key), (await identify(path)).identity);
    return this.#prune();
  }

  /** Removes a file if it is there; one that cannot be removed is found again. */
  async drop(path: string): Promise<void> {
    await rm(path, { force: true }).catch(() => undefined);
  }

  #seenPath(key: string): string {
    return join(this.#folder, `${key}${seenSuffix}`);
  }

  async #writeWhole(path: string, text: string): Promise<void> {
    const unfinished = this.unfinishedPath();
    try {
      await writeFile(unfinished, text, { mode: 0o600, flag: "wx" });
      await rename(unfinished, path);
    } finally {
      await this.drop(unfinished);
    }
  }

  /** Removes what is too much, oldest use first, and what others left unfinished. */
  async #prune(): Promise<number> {
    const graphs: Found[] = [];
    const hashes: Found[] = [];
    const seenNames: string[] = [];
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name);
      const found = await stat(path).catch(() => undefined);
      // Another process has removed it meanwhile.
      if (!found) continue;
      const { size, mtimeMs: usedMs } = found;
      const [, key] = graphName.exec(name) ?? [];
      if (key !== undefined) {
        const seen = await stat(this.#seenPath(key)).catch(() => found);
        graphs.push({ path, size, usedMs: seen.mtimeMs });
      } else if (name.endsWith(seenSuffix)) seenNames.push(name);
      else if (name.endsWith(hashSuffix)) hashes.push({ path, size: 1, usedMs });
      else if (name.endsWith(unfinishedSuffix) && this.#now() - usedMs > abandonedMs)
        await this.drop(path);
    }
    await this.#shrink(hashes, mostHashes);
    const bytes = await this.#shrink(graphs, this.#maxBytes);
    const kept = new Set(
      (await readdir(this.#folder)).map((name) => graphName.exec(name)?.[1] ?? ""),
    );
    for (const name of seenNames) {
      if (!kept.has(name.slice(0, -seenSuffix.length))) await this.drop(join(this.#folder, name));
    }
    return bytes;
  }

  async #shrink(files: readonly Found[], most: number): Promise<number> {
    let total = files.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of files.toSorted((one, other) => one.usedMs - other.usedMs)) {
      if (total <= most) break;
      await this.drop(path);
      total -= size;
    }
    return total;
  }
}

/** Makes a folder and those above it; Node's own way never ends where the system refuses with ENOENT. */
async function makeFolder(path: string): Promise<void> {
  if (await makeOne(path)) return;
  const above = dirname(path);
  if (above !== path) await makeFolder(above);
  if (!(await makeOne(path))) throw new Error(`${path} cannot be made`);
}

/** Whether the folder is there now; false if the one above it is not. */
async function makeOne(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return true;
    if (code === "ENOENT") return false;
    throw error;
  }
}

interface Found {
  readonly path: string;
  readonly size: number;
  readonly usedMs: number;
}

/** What the file system says of a file's contents: they change, and this does. */
async function identify(
  path: string,
): Promise<{ readonly identity: string; readonly changedMs: number }> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return {
    identity: [dev, ino, size, mtimeNs, ctimeNs].join(" "),
    changedMs: Math.max(Number(mtimeNs / 1_000_000n), Number(ctimeNs / 1_000_000n)),
  };
}

/** Says what failed, for a report. */
export function failedReport(error: unknown): GraphCacheReport {
  return { outcome: "failed", why: messageOf(error) };
}

function isWhole(path: string, name: string): boolean {
  const [, , size, crc] = graphName.exec(name) ?? [];
  try {
    const found = measure(path);
    return `${found.size}` === size && found.crc === crc;
  } catch {
    // What cannot be read, or is no model, is no graph.
    return false;
  }
}

/** @throws Error if the file cannot be read, or is no whole model */
function measure(path: string): { readonly size: number; readonly crc: string } {
  const file = new FileSource(path);
  try {
    readModelOutline(file);
    let crc = 0;
    for (const part of file.parts()) crc = crc32(part, crc);
    return { size: file.size, crc: crc.toString(16).padStart(8, "0") };
  } finally {
    file.close();
  }
}
