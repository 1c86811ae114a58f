import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, glob, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";
import { startGrpcCollector, startHttpCollector } from "../queue-proxy/start-collector.ts";
import { knativeEnvironment } from "../queue-proxy/start-queue-proxy.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));

/** Versions of Node that the packages promise; the server needs 22. */
const clientNodes = ["20", "22", "24"];
const serverNodes = ["22", "24"];

/** Packs a package as it is published, and gives the tarball. */
async function pack(folder: string, into: string): Promise<string> {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", into], {
    cwd: folder,
  });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(into, filename);
}

/** Folder with an empty project in which both packages are installed from their tarballs. */
let project: string;
const nodes = new Map<string, string>();

test.before(async (t) => {
  // Compiling, packing and installing three versions of Node takes a minute and more.
  t.timeout(600_000);
  project = await mkdtemp(join(tmpdir(), "tensorwire-pack-"));
  await run(process.execPath, ["scripts/build-client.mjs"], { cwd: root });
  await run(process.execPath, ["scripts/build-server.mjs"], { cwd: root });
  const client = await pack(join(root, "clients/typescript"), project);
  const server = await pack(root, project);
  await writeFile(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
  // Without it onnxruntime-node fetches a GPU build when it is installed.
  await copyFile(join(root, ".npmrc"), join(project, ".npmrc"));
  await run("npm", ["install", "--loglevel=error", client, server], { cwd: project });
  for (const version of clientNodes) {
    const folder = join(project, `node-${version}`);
    await mkdir(folder);
    const manifest = { private: true, allowScripts: { node: true } };
    await writeFile(join(folder, "package.json"), JSON.stringify(manifest));
    await run("npm", ["install", "--loglevel=error", `node@${version}`], { cwd: folder });
    nodes.set(version, join(folder, "node_modules/node/bin/node"));
  }
});

test.after.always(async () => {
  if (project) await rm(project, { recursive: true, force: true });
});

/** A user's program; it is compiled and run. */
const program = `
import { createClient, InferenceError, tensor, type TypedTensor } from "@tensorwire/client";
import { createClient as createWebClient } from "@tensorwire/client/web";

const halves: TypedTensor = tensor([2], [0.5, 2], "FP16");
console.log(process.version, halves.toArray().join());

const address = process.argv[2]!;
for (const client of [createClient(address), createWebClient(address)]) {
  try {
    const input = tensor([1, 4], [5.1, 3.5, 1.4, 0.2]);
    const result = await client.infer("iris", { input }, { timeoutMs: 20_000 });
    const scores: Float32Array = result.output("probabilities", "FP32").data;
    console.log("setosa", (scores[0] ?? 0) > 0.9);
  } catch (error) {
    if (!(error instanceof InferenceError)) throw error;
    console.log(error.code);
  }
  client.close();
}
`;

/** A user's model; it is compiled for its types, and served as it is. */
const model = `
import { defineModel, InputError, tensor } from "tensorwire/model";

export default defineModel({
  inputs: {
    text: { datatype: "BYTES", shape: [-1] },
    times: { datatype: "INT32", shape: [1], optional: true },
  },
  outputs: { length: { datatype: "INT32", shape: [-1] } },
  load: async ({ parameters }) => ({ unit: Number(parameters["unit"] ?? 1) }),
  async infer({ text, times }, { state, client, signal }) {
    const unit: number = state.unit;
    const data: Int32Array | undefined = times?.data;
    // @ts-expect-error an optional input may be left out
    const unchecked = () => times.data;
    if (text.shape[0] === 0) throw new InputError("no text");
    if (signal.aborted) await client.infer("other", { text });
    const lengths = text.strings().map((each: string) => each.length * unit * (data?.[0] ?? 1));
    return { length: tensor(text.shape, Int32Array.from(lengths)) };
  },
});

defineModel({
  inputs: {},
  outputs: { y: { datatype: "FP32", shape: [1] } },
  // @ts-expect-error the output is declared as FP32
  infer: () => ({ y: tensor([1], Int32Array.of(1)) }),
});
`;

/** A user's text model, over logits of its own. */
const textModel = `
import {
  characterVocabulary,
  createStepModelGenerator,
  defineTextModel,
  type StepModel,
} from "tensorwire/text-model";

const counting: StepModel = {
  slots: 2,
  contextLength: 32,
  vocabularySize: 4,
  // After each token comes the next one.
  step: async (rows) =>
    rows.map(({ tokens }) => {
      const logits = new Float32Array(4);
      logits[(tokens.at(-1)! + 1) % 4] = 9;
      return logits;
    }),
  release: (slot: number) => void slot,
};

export default defineTextModel({
  open: ({ name, observeGenerations: observe }) =>
    createStepModelGenerator({ name, observe, model: counting, vocabulary: characterVocabulary("abc") }),
});

// @ts-expect-error a generator is needed
defineTextModel({ open: () => 1 });
`;

const compilerOptions = {
  module: "nodenext",
  target: "es2022",
  strict: true,
  exactOptionalPropertyTypes: true,
  types: ["node"],
  typeRoots: [join(root, "node_modules/@types")],
};

const compilations = {
  "with the types of the packages checked too": { lib: ["es2022", "dom", "dom.iterable"] },
  // The types of Connect name some of browsers, so a program without those must not check them.
  "without the types of browsers": { lib: ["es2022"], skipLibCheck: true },
};

for (const [manner, options] of Object.entries(compilations)) {
  test.serial(`a program compiles against the client ${manner}`, async (t) => {
    t.timeout(120_000);
    await rm(join(project, "program.mjs"), { force: true });
    await writeFile(join(project, "program.mts"), program);
    await writeFile(join(project, "model.mts"), model);
    await writeFile(join(project, "text-model.mts"), textModel);
    const files = ["program.mts", "model.mts", "text-model.mts"];
    const config = { compilerOptions: { ...compilerOptions, ...options }, files };
    await writeFile(join(project, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const { stdout } = await run(process.execPath, [tsc, "-p", project]).catch((error) => error);
    t.is(stdout, "");
    t.regex(await readFile(join(project, "program.mjs"), "utf8"), /createClient\(address\)/);
  });
}

for (const version of clientNodes) {
  test.serial(`the client runs on Node ${version}, and says when nobody answers`, async (t) => {
    t.timeout(120_000);
    const address = "http://127.0.0.1:9";
    const { stdout } = await run(nodes.get(version)!, ["program.mjs", address], { cwd: project });
    const [first, ...rest] = stdout.trim().split("\n");
    t.true(first!.startsWith(`v${version}.`) && first!.endsWith(" 0.5,2"), first);
    t.deepEqual(rest, ["UNAVAILABLE", "UNAVAILABLE"]);
  });
}

for (const version of serverNodes) {
  test.serial(`tensorwire serves a model to the client on Node ${version}`, async (t) => {
    t.timeout(120_000);
    const node = nodes.get(version)!;
    const command = join(project, "node_modules/tensorwire/bin/tensorwire.js");
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const { stdout: stated } = await run(node, [command, "--version"], { cwd: project });
    t.true(stated.includes(manifest.version), stated);

    const models = join(root, "examples/models");
    const ownModel = join(project, "lengths.ts");
    await writeFile(ownModel, model);
    const ownText = join(project, "letters.ts");
    await writeFile(ownText, textModel.slice(0, textModel.indexOf("// @ts-expect-error")));
    const opticks = join(root, "examples/text-model");
    const given = [models, ownModel, ownText, opticks];
    const server = spawn(node, [command, "serve", ...given, "--port", "0"], {
      cwd: project,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let log = "";
    server.stderr.on("data", (text) => {
      log += text;
    });
    const exited = once(server, "exit");
    t.teardown(() => server.kill("SIGKILL"));
    let address: string | undefined;
    for await (const line of createInterface({ input: server.stdout })) {
      address = /listens on (http:\/\/\S+)/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    t.truthy(address, log);
    const { stdout } = await run(node, ["program.mjs", address!], { cwd: project });
    t.deepEqual(stdout.trim().split("\n").slice(1), ["setosa true", "setosa true"]);
    const answer = await fetch(`${address}/v2/models/lengths/infer`, {
      method: "POST",
      body: JSON.stringify({
        inputs: [{ name: "text", datatype: "BYTES", shape: [2], data: ["a", "four"] }],
      }),
    });
    const text = await answer.text();
    t.is(answer.status, 200, `${text}\n${log}`);
    const { outputs } = JSON.parse(text) as { outputs: { data: number[] }[] };
    t.deepEqual(outputs[0]?.data, [1, 4]);
    const generate = async (name: string, prompt: string): Promise<string> => {
      const generated = await fetch(`${address}/v2/models/${name}/generate`, {
        method: "POST",
        body: JSON.stringify({ text_input: prompt, max_tokens: 9, temperature: 0 }),
      });
      const json = await generated.text();
      t.is(generated.status, 200, `${json}\n${log}`);
      return (JSON.parse(json) as { text_output: string }).text_output;
    };
    t.is(await generate("letters", "a"), "bc");
    const [expected] = JSON.parse(await readFile(join(opticks, "expected.json"), "utf8"));
    t.is(await generate("opticks", expected.prompt), expected.text.slice(0, 9));
    server.kill("SIGTERM");
    t.deepEqual(await exited, [0, null]);
  });
}

test.serial("several processes serve from the package", async (t) => {
  t.timeout(120_000);
  const command = join(project, "node_modules/tensorwire/bin/tensorwire.js");
  const args = [command, "serve", join(root, "examples/models/iris"), "--workers", "2"];
  const server = spawn(nodes.get("24")!, [...args, "--port", "0"], {
    cwd: project,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(server, "exit");
  t.teardown(() => server.kill("SIGKILL"));
  let address: string | undefined;
  for await (const line of createInterface({ input: server.stdout })) {
    address = /listens on (http:\/\/\S+)/.exec(line)?.[1];
    if (address !== undefined) break;
  }
  t.truthy(address);
  const answer = await fetch(`${address}/v2/models/iris/ready`);
  t.is(answer.status, 200);
  server.kill("SIGTERM");
  t.deepEqual(await exited, [0, null]);
});

const collectors = { grpc: startGrpcCollector, "http/protobuf": startHttpCollector };

for (const [protocol, startCollector] of Object.entries(collectors)) {
  test.serial(`the queue-proxy of the package exports its metrics by ${protocol}`, async (t) => {
    t.timeout(120_000);
    const collector = await startCollector(t);
    const endpoint = `http://127.0.0.1:${collector.port}`;
    const command = join(project, "node_modules/tensorwire/bin/tensorwire.js");
    const ports = ["--admin-port", "0", "--statistics-port", "0", "--listen-host", "127.0.0.1"];
    const proxy = spawn(nodes.get("24")!, [command, "queue-proxy", ...ports], {
      cwd: project,
      stdio: "ignore",
      env: knativeEnvironment(1, {
        OBSERVABILITY_CONFIG: JSON.stringify({
          requestMetrics: { protocol, endpoint, exportInterval: 100e6 },
        }),
      }),
    });
    t.teardown(() => proxy.kill("SIGKILL"));
    await until(() => collector.exports.length > 0);
    t.true(collector.exports[0]!.metrics.has("kn.serving.queue.depth"));
  });
}

test.serial(
  "what the server imports is in the package or comes with it, and licences are named",
  async (t) => {
    const installed = join(project, "node_modules/tensorwire");
    const { dependencies } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    const files: string[] = [];
    for await (const name of glob("dist/**/*.js", { cwd: installed })) files.push(name);
    // A bundle of parts, not a file for each of the hundreds of sources.
    t.true(files.includes(join("dist", "server", "cli", "main.js")) && files.length < 150);
    const imported = new Set<string>();
    for (const file of files) {
      const code = await readFile(join(installed, file), "utf8");
      const pattern = /^(?:import|export) (?:[^"'`;]* from )?"([^"]+)"|import\("([^"]+)"\)/gm;
      for (const [, first, second] of code.matchAll(pattern)) {
        const specifier = first ?? second ?? "";
        if (specifier.startsWith(".")) {
          t.true(existsSync(join(installed, file, "..", specifier)), `${file}: ${specifier}`);
        } else imported.add(specifier.split("/")[0]!);
      }
    }
    t.true(imported.has("onnxruntime-node"));
    t.deepEqual(
      [...imported].filter((name) => !isBuiltin(name) && !(name in dependencies)),
      [],
    );
    const licenses = await readFile(join(installed, "dist/third-party-licenses.txt"), "utf8");
    for (const name of [
      "@connectrpc/connect 2",
      "@opentelemetry/sdk-metrics 3",
      "pino 10",
      "prom-client 15",
    ]) {
      t.true(licenses.includes(name), name);
    }
  },
);

test("the tarball of the client has no tests, sources or server", async (t) => {
  t.timeout(60_000);
  const { stdout } = await run("npm", ["pack", "--json", "--dry-run"], {
    cwd: join(root, "clients/typescript"),
  });
  const [{ files }] = JSON.parse(stdout) as [{ files: readonly { path: string }[] }];
  const paths = files.map(({ path }) => path);
  const folders = new Set(paths.map((path) => path.replace(/\/[^/]*$/, "")));
  t.deepEqual([...folders].sort(), [
    "LICENSE",
    "README.md",
    "dist/clients/typescript/src",
    "dist/gen/google/rpc",
    "dist/gen/inference",
    "dist/server/errors",
    "dist/server/tensor",
    "package.json",
  ]);
  t.true(paths.every((path) => !/\.ts$/.test(path) || path.endsWith(".d.ts")));
});
