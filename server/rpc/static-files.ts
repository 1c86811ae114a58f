import { createHash } from "node:crypto";
import { readFile, realpath, stat } from "node:fs/promises";
import { extname, join, sep } from "node:path";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { pathOf } from "./connect-host.ts";

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".json": "application/json",
  ".map": "application/json",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
};

/** Largest file that is served, in bytes: files are read whole. */
const maxFileBytes = 32 * 1024 * 1024;

/** Answers requests for files, or `undefined` where there is none. */
export type StaticFiles = (
  request: UniversalServerRequest,
) => Promise<UniversalServerResponse | undefined>;

/**
 * Serves the files of a folder for GET and HEAD; `/` and folders give their index.html. Nothing
 * outside of the folder is reached, neither by the path nor by a link in it; names that begin with a
 * dot are not served.
 */
export async function createStaticFiles(folder: string): Promise<StaticFiles> {
  const root = await realpath(folder);
  return async (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") return undefined;
    const names = segments(pathOf(request.url));
    const found = names && (await findFile(root, names));
    if (!found) return undefined;
    if (found.isFolder && !pathOf(request.url).endsWith("/")) {
      // The page's relative links start from the folder.
      const location = `/${names.map(encodeURIComponent).join("/")}/`;
      return { status: 308, header: new Headers({ location }) };
    }
    const { file } = found;
    const bytes = await readFile(file);
    const etag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
    const header = new Headers({
      "content-type": contentTypes[extname(file).toLowerCase()] ?? "application/octet-stream",
      "content-length": String(bytes.byteLength),
      "cache-control": "no-cache",
      "x-content-type-options": "nosniff",
      etag,
    });
    if (matches(request.header.get("if-none-match"), etag)) {
      header.delete("content-length");
      return { status: 304, header };
    }
    return { status: 200, header, body: once(bytes) };
  };
}

/** Whether an If-None-Match header names the tag (RFC 9110, section 13.1.2). */
function matches(header: string | null, etag: string): boolean {
  if (header === null) return false;
  return header.split(",").some((given) => given.trim().replace(/^W\//, "") === etag);
}

/** The file under `root` that a path means, for a folder its page; `undefined` if there is none. */
async function findFile(
  root: string,
  names: readonly string[],
): Promise<{ readonly file: string; readonly isFolder: boolean } | undefined> {
  try {
    let file = await realpath(join(root, ...names));
    const isFolder = (await stat(file)).isDirectory();
    if (isFolder) file = await realpath(join(file, "index.html"));
    const inside = file.startsWith(root.endsWith(sep) ? root : root + sep);
    const found = await stat(file);
    const served = inside && found.isFile() && found.size <= maxFileBytes;
    return served ? { file, isFolder } : undefined;
  } catch {
    // Nothing is there, or nothing that may be read.
    return undefined;
  }
}

/** Decoded names of a path; `undefined` if one of them could lead elsewhere. */
function segments(path: string): string[] | undefined {
  try {
    const names = path
      .split("/")
      .filter((name) => name !== "")
      .map((name) => decodeURIComponent(name));
    return names.some((name) => /^\.|[/\\\0]/.test(name)) ? undefined : names;
  } catch {
    // A broken percent-encoding names no file.
    return undefined;
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
