import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { optimizationNotWritten } from "../errors/optimize-errors.ts";

/**
 * Writes a file so that who reads it sees all of it or none: beside its place first, then renamed. Makes
 * the folders on the way.
 *
 * @throws TensorwireError `OPTIMIZATION_NOT_WRITTEN`
 */
export async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
  // A name that no earlier run, stopped half-way, can have left.
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.part`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      // The rename must not reach the disk before the contents.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    // The first failure is the one to tell; where not even the folder is one, nothing is to be removed.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw optimizationNotWritten(path, error);
  }
}
