import { readFile, stat } from "node:fs/promises";
import { elementCount } from "../../../tensor/shape.ts";
import { memorySource } from "./byte-source.ts";
import { declaredTensor } from "./declared-type.ts";
import { valueDependent } from "./graph-plan.ts";
import { type ModelOutline, readModelOutline } from "./model-outline.ts";

/** Largest file of a small model, in bytes: it is kept in memory, for its worker. */
const mostBytes = 256 * 1024;

/**
 * Multiplications that a run of one row may take, some 10 ms of one core. Each weight, of one byte at
 * least, meets each element of the input at most once in what layers compute.
 */
const mostWork = 2 ** 24;

/**
 * Reads a model that may be opened and measured in the thread of the sockets; `undefined` if its file is
 * too large for that, does not show how long a run takes, or cannot be read.
 */
export async function readSmallModel(path: string): Promise<Uint8Array | undefined> {
  try {
    if ((await stat(path)).size > mostBytes) return undefined;
    const contents = await readFile(path);
    return isSmall(readModelOutline(memorySource(contents)), contents.byteLength)
      ? contents
      : undefined;
  } catch {
    // Whoever opens it says what is wrong with it.
    return undefined;
  }
}

function isSmall(outline: ModelOutline, bytes: number): boolean {
  if (outline.external || valueDependent.some((operator) => outline.operators.has(operator)))
    return false;
  let elements = 0;
  for (const input of outline.inputs) {
    const shape = declaredTensor(input)?.shape;
    if (!shape) return false;
    elements += elementCount(shape.map((size) => (size === -1 ? 1 : size)));
  }
  return elements * bytes <= mostWork;
}
