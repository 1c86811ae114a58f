import { createHash } from "node:crypto";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  rename,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import type { ExecutionContext } from "ava";
import test from "ava";
import { ModelProtoSchema, TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import { memorySource } from "../../../../server/predictor/engines/onnx/byte-source.ts";
import {
  GraphCache,
  type GraphCacheOptions,
} from "../../../../server/predictor/engines/onnx/graph-cache.ts";
import { readModelOutline } from "../../../../server/predictor/engines/onnx/model-outline.ts";
import { OnnxSession } from "../../../../server/predictor/engines/onnx/onnx-session.ts";
import {
  cpuSettings,
  type GraphLevel,
} from "../../../../server/predictor/engines/onnx/session-settings.ts";
import { onnxModel, tensorInfo } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const float = TensorProto_DataType.FLOAT;

const floats = (name: string, dims: readonly number[], from: number) => ({
  name,
  dims: dims.map(BigInt),
  dataType: float,
  floatData: Array.from(
    { length: dims.reduce((product, size) => product * size, 1) },
    (_, index) => Math.sin(from + index) + 1.5,
  ),
});

/** x / sqrt(2), erf, + 1, * x, / 2: what exporters write for GELU, behind a product with weights. */
const gelu = (seed: number): Uint8Array =>
  onnxModel({
    node: [
      { opType: "MatMul", input: ["x", "w"], output: ["m"] },
      { opType: "Div", input: ["m", "root"], output: ["d"] },
      { opType: "Erf", input: ["d"], output: ["e"] },
      { opType: "Add", input: ["e", "one"], output: ["a"] },
      { opType: "Mul", input: ["m", "a"], output: ["p"] },
      { opType: "Mul", input: ["p", "half"], output: ["y"] },
    ],
    initializer: [
      floats("w", [8, 8], seed),
      { name: "root", dataType: float, floatData: [Math.SQRT2] },
      { name: "one", dataType: float, floatData: [1] },
      { name: "half", dataType: float, floatData: [0.5] },
    ],
    input: [tensorInfo("x", float, ["n", 8])],
    output: [tensorInfo("y", float, ["n", 8])],
  });

const input = {
  name: "x",
  datatype: "FP32" as const,
  shape: [2, 8],
  bytes: new Uint8Array(Float32Array.from({ length: 16 }, (_, index) => index / 7 - 1).buffer),
};

interface Opened {
  readonly outcome: string | undefined;
  readonly why: string | undefined;
  readonly bytes: number | undefined;
  readonly output: Buffer;
}

async function open(
  path: string,
  graphCache: GraphCacheOptions | undefined,
  graphLevel: GraphLevel = "all",
): Promise<Opened> {
  const settings = { ...cpuSettings, graphLevel };
  const session = await OnnxSession.load({
    model: "m",
    path,
    intraOpThreads: 1,
    settings,
    graphCache,
  });
  const { outputs } = session.run([input], ["y"]);
  session.release();
  const { outcome, why, bytes } = session.graphCache ?? {};
  return { outcome, why, bytes, output: Buffer.from(outputs[0]!.bytes!) };
}

/** A folder with a model and, when it was used, a cache. */
async function prepare(
  t: ExecutionContext,
  model: Uint8Array = gelu(1),
): Promise<{ readonly path: string; readonly cache: GraphCacheOptions; readonly own: string }> {
  const folder = await temporaryFolder(t, { "model.onnx": model });
  const cache = { folder: join(folder, "some", "cache"), maxBytes: 1024 * 1024 };
  return {
    path: join(folder, "model.onnx"),
    cache,
    own: join(cache.folder, "tensorwire-graphs"),
  };
}

const graphsIn = async (own: string): Promise<string[]> =>
  (await readdir(own)).filter((name) => name.endsWith(".onnx"));

test("a graph is kept by the first load and opened by the second, and answers alike", async (t) => {
  const { path, cache, own } = await prepare(t);
  const plain = await open(path, undefined);
  t.is(plain.outcome, undefined);
  const first = await open(path, cache);
  const second = await open(path, cache);
  t.deepEqual([first.outcome, second.outcome], ["stored", "hit"]);
  t.deepEqual(first.output, plain.output);
  t.deepEqual(second.output, plain.output);
  const [name, ...others] = await graphsIn(own);
  t.deepEqual(others, []);
  const graph = await readFile(join(own, name!));
  t.is(first.bytes, graph.byteLength);
  // ONNX Runtime has put the five nodes into one of its own.
  const { operators } = readModelOutline(memorySource(graph));
  t.true(
    [...operators].some((operator) => operator.includes("Gelu")),
    [...operators].join(),
  );
  t.false(operators.has("Erf"));
  t.is((await stat(own)).mode & 0o777, 0o700);
  for (const file of await readdir(own)) {
    t.is((await stat(join(own, file))).mode & 0o777, 0o600, file);
    t.false(file.endsWith(".part"));
  }
});

test("levels and models have graphs of their own, and level disabled has none", async (t) => {
  const { path, cache, own } = await prepare(t);
  t.is((await open(path, cache, "basic")).outcome, "stored");
  const [basic] = await graphsIn(own);
  // Fusions with GELU are of the extended level.
  const { operators } = readModelOutline(memorySource(await readFile(join(own, basic!))));
  t.true(operators.has("Erf"));
  t.is((await open(path, cache, "all")).outcome, "stored");
  t.is((await open(path, cache, "disabled")).outcome, undefined);
  const before = await open(path, cache);
  await writeFile(path, gelu(2));
  const after = await open(path, cache);
  t.deepEqual([before.outcome, after.outcome], ["hit", "stored"]);
  t.notDeepEqual(after.output, before.output);
  t.deepEqual(after.output, (await open(path, undefined)).output);
  t.is((await graphsIn(own)).length, 3);
});

const damages: Readonly<Record<string, (graph: string) => Promise<void>>> = {
  "cut short": (graph) => truncate(graph, 100),
  emptied: (graph) => truncate(graph, 0),
  "changed in one bit": async (graph) => {
    const bytes = await readFile(graph);
    const at = Math.floor(bytes.byteLength / 2);
    bytes[at] = bytes[at]! ^ 1;
    await writeFile(graph, bytes);
  },
  "taken for another": async (graph) => writeFile(graph, gelu(9)),
  "a model that cannot be opened, by its name whole": async (graph) => {
    const bytes = toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: 8n,
        opsetImport: [{ version: 17n }],
        graph: {
          name: "g",
          node: [{ opType: "NoSuchOperator", input: ["x"], output: ["y"] }],
          input: [tensorInfo("x", float, ["n", 8])],
          output: [tensorInfo("y", float, ["n", 8])],
        },
      }),
    );
    const [key] = graph.split("-").slice(-3, -2);
    const crc = crc32(bytes).toString(16).padStart(8, "0");
    await writeFile(graph, bytes);
    await rename(
      graph,
      `${graph.slice(0, graph.indexOf(key!))}${key}-${bytes.byteLength}-${crc}.onnx`,
    );
  },
};

for (const [how, damage] of Object.entries(damages)) {
  test(`a graph that is ${how} is dropped and made again`, async (t) => {
    const { path, cache, own } = await prepare(t);
    const { output } = await open(path, cache);
    const [name] = await graphsIn(own);
    await damage(join(own, name!));
    const again = await open(path, cache);
    t.is(again.outcome, "replaced");
    t.deepEqual(again.output, output);
    t.deepEqual(await graphsIn(own), [name]);
    t.is((await open(path, cache)).outcome, "hit");
  });
}

test("a graph whose use was not written down is read to the end, and is a hit", async (t) => {
  const { path, cache, own } = await prepare(t);
  await open(path, cache);
  for (const name of await readdir(own)) {
    if (name.endsWith(".seen")) await writeFile(join(own, name), "something else");
  }
  t.is((await open(path, cache)).outcome, "hit");
});

test("what was not used for longest goes first when there is no room", async (t) => {
  const { path, cache, own } = await prepare(t);
  const { bytes = 0 } = await open(path, cache);
  const room = { ...cache, maxBytes: Math.floor(bytes * 2.5) };
  const keyOf = (name: string | undefined): string => name?.slice(0, 64) ?? "";
  const first = keyOf((await graphsIn(own))[0]);
  await writeFile(`${path}-2`, gelu(2));
  await open(`${path}-2`, room);
  const second = keyOf((await graphsIn(own)).find((name) => keyOf(name) !== first));
  // The first was stored before the second and is used after it.
  for (const [key, seconds] of [
    [first, 2000],
    [second, 1000],
  ] as const) {
    await utimes(join(own, `${key}.seen`), seconds, seconds);
  }
  await writeFile(`${path}-3`, gelu(3));
  const third = await open(`${path}-3`, room);
  t.is(third.outcome, "stored");
  t.true(third.bytes! <= room.maxBytes);
  t.is((await open(path, room)).outcome, "hit");
  const names = await readdir(own);
  t.is(names.filter((name) => keyOf(name) === first).length, 2);
  t.is(names.filter((name) => keyOf(name) === second).length, 0);
  t.is((await open(`${path}-2`, room)).outcome, "stored");
});

test("a graph that is larger than the cache is not kept, and the model serves", async (t) => {
  const { path, cache, own } = await prepare(t);
  const { outcome, why, output } = await open(path, { ...cache, maxBytes: 100 });
  t.is(outcome, "failed");
  t.regex(why ?? "", /the graph takes \d+ bytes, the whole cache may take 100/);
  t.deepEqual(output, (await open(path, undefined)).output);
  t.deepEqual(await readdir(own), []);
});

test("a folder that cannot be used costs the cache and not the model", async (t) => {
  const { path, cache, own } = await prepare(t);
  const plain = await open(path, undefined);
  const attempt = async (folder: string, why: RegExp): Promise<void> => {
    const opened = await open(path, { ...cache, folder });
    t.is(opened.outcome, "failed");
    t.regex(opened.why ?? "", why);
    t.deepEqual(opened.output, plain.output);
  };
  // Nobody makes folders there, whoever it is.
  await attempt("/proc/tensorwire-test", /cannot be made|EACCES|EPERM/);
  await attempt(path, /ENOTDIR|EEXIST/);
  await mkdir(own, { recursive: true });
  await chmod(own, 0o777);
  await attempt(cache.folder, /is open to other users \(mode 777\), expected 700/);
});

test("loads at once of one model leave one graph", async (t) => {
  const { path, cache, own } = await prepare(t);
  const opened = await Promise.all([1, 2, 3].map(() => open(path, cache)));
  for (const { output, outcome } of opened) {
    t.true(outcome === "stored" || outcome === "hit", outcome);
    t.deepEqual(output, opened[0]!.output);
  }
  t.is((await graphsIn(own)).length, 1);
});

test("a model that cannot be opened fails with the runtime's words, with a cache too", async (t) => {
  const broken = onnxModel({
    node: [{ opType: "NoSuchOperator", input: ["x"], output: ["y"] }],
    input: [tensorInfo("x", float, ["n", 8])],
    output: [tensorInfo("y", float, ["n", 8])],
  });
  const { path, cache, own } = await prepare(t, broken);
  await t.throwsAsync(open(path, cache), { message: /NoSuchOperator/ });
  t.deepEqual(await graphsIn(own), []);
});

test("the hash of a file is remembered until the file changes, even to the same size and time", async (t) => {
  const { path, cache, own } = await prepare(t);
  const graphs = new GraphCache(cache, () => Date.now() + 60_000);
  await graphs.open();
  const sha256 = async (): Promise<string> =>
    createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  t.is(await graphs.hashOf(path), await sha256());
  const [record, ...others] = await readdir(own);
  t.deepEqual(others, []);
  const forged = "ab".repeat(32);
  await writeFile(join(own, record!), forged);
  t.is(await graphs.hashOf(path), forged);
  await writeFile(path, gelu(2));
  t.is(await graphs.hashOf(path), await sha256());
  // A file that may still change is hashed each time.
  const early = new GraphCache(cache, () => 0);
  await writeFile(path, gelu(3));
  await early.hashOf(path);
  t.is((await readdir(own)).length, 2);
});
