import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openInRuntime } from "./runtime.ts";

/**
 * How far ONNX Runtime rewrites the graph: `basic` with standard operators only (constants folded,
 * nodes joined or dropped), `extended` also with operators of its own, `all` also with a layout of
 * weights for the CPU that it runs on.
 */
export type GraphLevel = "basic" | "extended" | "all";

/**
 * Has ONNX Runtime optimize the graph of a model, and gives the model that it made.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED`
 */
export async function optimizeGraph(
  name: string,
  bytes: Uint8Array,
  level: GraphLevel,
): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-optimize-"));
  try {
    const path = join(folder, "model.onnx");
    const model = await openInRuntime(name, bytes, { level, writeTo: path });
    await model.release();
    return await readFile(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
