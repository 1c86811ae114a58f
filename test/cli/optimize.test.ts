import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { startCommand } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const digits = fileURLToPath(new URL("../../examples/models/digits", import.meta.url));

test("optimize writes a model with 8-bit weights that is smaller", async (t) => {
  const folder = await temporaryFolder(t);
  const { ended, stdout, stderr } = startCommand(t, [
    ...["optimize", digits, "--quantize", "int8", "--output", join(folder, "small")],
    ...["--tolerance", "0.5", "--measure", "0", "--json"],
  ]);
  t.is(await ended, 0, stderr());
  const report = JSON.parse(stdout());
  const written = join(folder, "small/1/model.onnx");
  t.is(report.written, written);
  t.is((await readFile(written)).byteLength, report.bytesAfter);
  t.true(report.bytesAfter < 0.4 * report.bytesBefore);
});

test("optimize refuses a model that is further off than the tolerance, and writes nothing", async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, "small.onnx");
  await writeFile(join(folder, "other"), "");
  const { ended, stderr } = startCommand(t, [
    ...["optimize", digits, "--quantize", "int8", "--output", file],
    ...["--tolerance", "1e-9", "--measure", "0"],
  ]);
  t.is(await ended, 1);
  t.regex(stderr(), /relative difference of output "\w+" is 0\.\d+, expected at most 1e-9/);
  await t.throwsAsync(readFile(file), { code: "ENOENT" });
});
