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
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw optimizationNotWritten(path, error);
  }
}
