import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { writeAtomically } from "../../server/optimize/write-atomically.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("a file is written with the folders on the way, and replaces one that is there", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "a/b/model.onnx");
  await writeAtomically(path, Uint8Array.of(1));
  await writeAtomically(path, Uint8Array.of(2, 3));
  t.deepEqual([...(await readFile(path))], [2, 3]);
  t.deepEqual(await readdir(join(folder, "a/b")), ["model.onnx"]);
});

test("a place that cannot be written is named, and nothing is left behind", async (t) => {
  const folder = await temporaryFolder(t, { file: "", "taken/model.onnx/inner": "" });
  await t.throwsAsync(writeAtomically(join(folder, "file/model.onnx"), Uint8Array.of(1)), {
    message: /file\/model\.onnx cannot be written: .*; name a folder/,
  });
  await t.throwsAsync(writeAtomically(join(folder, "taken/model.onnx"), Uint8Array.of(1)), {
    message: /taken\/model\.onnx cannot be written/,
  });
  t.deepEqual(await readdir(join(folder, "taken")), ["model.onnx"]);
});
