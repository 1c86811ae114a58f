import { cp, link, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { createClient } from "../../clients/typescript/src/node.ts";
import { dispatch } from "../../server/cli/dispatch.ts";
import { commandHelp } from "../../server/cli/help.ts";
import { optimizeCommand } from "../../server/cli/optimize.ts";
import { environmentName } from "../../server/config/environment-name.ts";
import { startCommand, startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type RecordingProgram, recordingProgram } from "./recording-program.ts";

const digits = fileURLToPath(new URL("../../examples/models/digits", import.meta.url));
const digitsFile = join(digits, "1/model.onnx");
const quick = ["--measure", "0"];

/** Five held-out images and what ONNX Runtime in Python answers to them. */
const samples = JSON.parse(
  await readFile(new URL("../../examples/models/samples.json", import.meta.url), "utf8"),
).digits;
const images: readonly number[] = samples.inputs.image.data;
const imageShape: readonly number[] = samples.inputs.image.shape;

/** The images as a NumPy file of version 1. */
function npy(): Uint8Array {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${imageShape.join(", ")}), }\n`;
  const prefix = Buffer.from(`\x93NUMPY\x01\x00\x00\x00`, "latin1");
  prefix.writeUInt16LE(header.length, 8);
  const values = Float32Array.from(images);
  return Buffer.concat([prefix, Buffer.from(header), new Uint8Array(values.buffer)]);
}

/** Runs the command in this process. */
async function optimize(
  ...args: readonly string[]
): Promise<{ exitCode: number; program: RecordingProgram }> {
  const program = recordingProgram();
  const exitCode = await dispatch([optimizeCommand], ["optimize", ...args], program);
  return { exitCode, program };
}

async function answers(file: string): Promise<Readonly<Record<string, readonly number[]>>> {
  const session = await InferenceSession.create(file, { logSeverityLevel: 4 });
  const image = new Tensor("float32", Float32Array.from(images), imageShape);
  const results = await session.run({ image });
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [
      name,
      Array.from(data as Float32Array, Number),
    ]),
  );
}

for (const [title, flags, most, size] of [
  ["8-bit weights", ["--quantize", "uint8"], 0.05, 0.4],
  ["16-bit floats", ["--precision", "fp16"], 0.002, 0.6],
  ["a rewritten graph", ["--graph", "extended"], 1e-6, 1.1],
  [
    "all that goes together",
    ["--graph", "basic", "--quantize", "uint8", "--precision", "fp16"],
    0.05,
    0.4,
  ],
] as const) {
  test(`the program writes a model of ${title}, which answers nearly as before when it is served`, async (t) => {
    const folder = await temporaryFolder(t, { "rows.npy": npy() });
    const { ended, stdout, stderr } = startCommand(t, [
      ...["optimize", digits, ...flags, "--output", join(folder, "models/digits")],
      ...["--input", `image=@${join(folder, "rows.npy")}`, "--tolerance", `${most}`],
      ...["--measure", "20ms", "--json"],
    ]);
    t.is(await ended, 0, stderr());
    const report = JSON.parse(stdout());
    const written = join(folder, "models/digits/1/model.onnx");
    t.is(report.written, written);
    t.true(report.withinTolerance);
    t.deepEqual(await readdir(join(folder, "models/digits/1")), ["model.onnx"]);
    t.is((await readFile(written)).byteLength, report.bytesAfter);
    t.true(report.bytesAfter < size * report.bytesBefore);
    t.deepEqual(
      report.speeds.map(({ rows }: { rows: number }) => rows),
      [1, 32],
    );

    const [before, after] = [await answers(digitsFile), await answers(written)];
    t.deepEqual(after.label, before.label);
    const off = before.probabilities!.map((p, index) => Math.abs(p - after.probabilities![index]!));
    t.true(Math.max(...off) <= most);

    const { address } = await startServer(t, [join(folder, "models")]);
    const client = createClient(`http://${address}`);
    t.teardown(() => client.close());
    const served = await client.infer("digits", {
      image: { datatype: "FP32", shape: imageShape, data: Float32Array.from(images) },
    });
    t.deepEqual(served.outputs.label!.toArray().map(Number), before.label);
    const probabilities = served.outputs.probabilities!.toArray().map(Number);
    t.true(probabilities.every((p, index) => Math.abs(p - before.probabilities![index]!) <= most));
  });
}

test("a model that is further off than the tolerance is reported and not written", async (t) => {
  const folder = await temporaryFolder(t);
  const { ended, stdout, stderr } = startCommand(t, [
    ...["optimize", digits, "--quantize", "uint8", "--output", join(folder, "small.onnx")],
    ...["--tolerance", "1e-9", ...quick],
  ]);
  t.is(await ended, 1);
  t.regex(stderr(), /relative difference of output "\w+" is 0\.\d+, expected at most 1e-9/);
  t.regex(stdout(), /probabilities +0\.\d+/);
  t.deepEqual(await readdir(folder), []);
});

test("without an output nothing is written, and the report says how to", async (t) => {
  const { exitCode, program } = await optimize(digitsFile, "--precision", "fp16", ...quick);
  t.is(exitCode, 0, program.complained());
  t.regex(program.written(), /^digits\n {2}8 nodes compute in 16-bit floats\n/);
  t.regex(program.written(), /size +69\.4 kB +35\.\d kB +x0\.51/);
  t.regex(program.written(), /Nothing was written; --output PATH writes the model\.\n$/);
});

test("a file that is there is replaced only if that is asked for", async (t) => {
  const folder = await temporaryFolder(t, { "half.onnx": "other" });
  const half = join(folder, "half.onnx");
  const args = [digits, "--precision", "fp16", "--output", half, ...quick];
  const refused = await optimize(...args);
  t.is(refused.exitCode, 2);
  t.regex(refused.program.complained(), /half\.onnx is there already; .*--overwrite/);
  t.is(await readFile(half, "utf8"), "other");
  t.is((await optimize(...args, "--overwrite")).exitCode, 0);
  t.true((await readFile(half)).byteLength > 30_000);
});

test("the model itself is never replaced, under whatever name", async (t) => {
  const folder = await temporaryFolder(t);
  await cp(digits, join(folder, "digits"), { recursive: true });
  await link(join(folder, "digits/1/model.onnx"), join(folder, "linked.onnx"));
  const before = await readFile(digitsFile);
  for (const output of ["digits", "digits/1/model.onnx", "linked.onnx"]) {
    const { exitCode, program } = await optimize(
      join(folder, "digits"),
      ...["--precision", "fp16", "--overwrite", "--output", join(folder, output), ...quick],
    );
    t.is(exitCode, 2);
    t.regex(program.complained(), /which is the model itself; name another file/);
  }
  t.deepEqual(await readFile(join(folder, "digits/1/model.onnx")), before);
});

test("the newest version of a model folder is taken, and its number kept", async (t) => {
  const folder = await temporaryFolder(t, {
    "m/2/model.onnx": addModel(2),
    "m/10/model.onnx": addModel(10),
    "m/config.pbtxt": "",
  });
  const { exitCode, program } = await optimize(
    join(folder, "m"),
    ...["--precision", "fp16", "--output", join(folder, "half"), ...quick],
  );
  t.is(exitCode, 0, program.complained());
  const session = await InferenceSession.create(join(folder, "half/10/model.onnx"));
  const { y } = await session.run({ x: new Tensor("float32", Float32Array.of(1), [1]) });
  t.deepEqual([...(y!.data as Float32Array)], [11]);
});

for (const [title, args, message] of [
  [
    "no model",
    ["--quantize", "int8"],
    /got 0 arguments, expected one: an \.onnx file or a model folder/,
  ],
  ["nothing to do", [digits], /got no change to make, expected one at least/],
  [
    "a model that is not there",
    ["nowhere.onnx", "--graph", "basic"],
    /got model nowhere\.onnx, expected .*ENOENT/,
  ],
  [
    "a folder without a model",
    [join(digits, "../.."), "--graph", "basic"],
    /has neither model\.onnx nor <version>\/model\.onnx/,
  ],
  [
    "an impossible tolerance",
    [digits, "--graph", "basic", "--tolerance", "much"],
    /flag --tolerance: got "much", expected a number from 0/,
  ],
  [
    "an unknown change",
    [digits, "--quantize", "int4"],
    /flag --quantize: got "int4", expected one of none, int8, uint8/,
  ],
  [
    "graphs that undo 16 bits",
    [digits, "--graph", "all", "--precision", "fp16"],
    /got all with --precision fp16, expected none or basic/,
  ],
  [
    "an input that the model does not have",
    [digits, "--graph", "basic", "--input", "img=1"],
    /has no input "img"/,
  ],
  [
    "an input of another shape",
    [digits, "--graph", "basic", "--input", "image=[[1,2],[3,4]]"],
    /"image" has shape \[1,2,2\], expected \[-1,8,8\]/,
  ],
  [
    "a shape without a name",
    [digits, "--graph", "basic", "--shape", "1,2"],
    /flag --shape: got "1,2", expected NAME=SIZES/,
  ],
] as const) {
  test(`${title} is refused with what is expected`, async (t) => {
    const { exitCode, program } = await optimize(...args, ...quick);
    t.is(exitCode, 2);
    t.regex(program.complained(), message);
  });
}

test("a file that is no model is refused", async (t) => {
  const folder = await temporaryFolder(t);
  const file = join(folder, "text.onnx");
  await writeFile(file, "This is no model.");
  const { exitCode, program } = await optimize(file, "--graph", "basic", ...quick);
  t.is(exitCode, 1);
  t.regex(
    program.complained(),
    /model "text" failed to load: the file (is no ONNX model|holds no)/,
  );
});

test("help of optimize has every setting with its variable and meaning", (t) => {
  const flat = commandHelp(optimizeCommand, { columns: 80, color: false }).replace(/\s+/g, " ");
  for (const [flag, { help }] of Object.entries(optimizeCommand.settings)) {
    t.true(flat.includes(`[${environmentName(flag)}]`), flag);
    t.true(flat.includes(help), flag);
  }
  for (const [example] of optimizeCommand.examples) t.true(flat.includes(example));
});
