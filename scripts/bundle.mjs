import { readdir, readFile, writeFile } from "node:fs/promises";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("../", import.meta.url));

/** What Node is started with, or loads into a thread: each becomes a file of its own. */
const entries = [
  "server/cli/main",
  "server/cli/worker-main",
  "server/model/model-api",
  "server/model/model-thread",
  "server/model/text-model-api",
  "server/predictor/engines/onnx/worker-entry",
];

/** In the output although they are `dependencies`: the declarations of tensorwire/model name their types. */
const inside = ["@bufbuild/protobuf", "@connectrpc/connect"];

/**
 * Puts the server and the packages that it is built from into few files, which start in a third of the
 * time and two thirds of the memory of six hundred (docs/execution.md). What package.json has as
 * `dependencies` stays outside, such as what has native code.
 *
 * @param {string} folder - where the output goes, as an absolute path
 */
export async function bundle(folder) {
  const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const outside = Object.keys(dependencies).filter((name) => !inside.includes(name));
  const build = await rolldown({
    cwd: root,
    input: Object.fromEntries(entries.map((entry) => [entry, `${entry}.ts`])),
    platform: "node",
    external: (id) => outside.some((name) => id === name || id.startsWith(`${name}/`)),
    plugins: [builtinModules(), ownLocation(), withoutPushGateway(), grpcOfExporter()],
    onLog(level, log, handle) {
      // An import that does not lead anywhere would fail at the user's.
      if (level === "warn" && log.code === "UNRESOLVED_IMPORT") handle("error", log);
      else handle(level, log);
    },
  });
  const { output } = await build.write({
    dir: folder,
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "server/shared/[name]-[hash].js",
    // The licences stand in a file of their own; the sources have the comments.
    comments: false,
  });
  await build.close();
  for (const { fileName, code } of output) await writeFile(join(folder, fileName), onlyAscii(code));
  await writeFile(join(folder, "third-party-licenses.txt"), await licenses(output));
}

/**
 * Gives bundled modules Node's own by `process.getBuiltinModule`. An import statement makes Node read
 * every export, among them `WebSocket` of node:http and `webcrypto` of node:crypto, which are loaded when
 * they are read and take 10 MB and 20 ms.
 */
function builtinModules() {
  const prefix = "\0builtin:";
  return {
    name: "builtin-modules",
    resolveId: {
      order: "pre",
      handler(id, importer, { kind }) {
        if (kind !== "import-statement" || !isBuiltin(id) || importer?.startsWith("\0"))
          return null;
        return { id: `${prefix}${id.replace(/^node:/, "")}`, moduleSideEffects: false };
      },
    },
    load(id) {
      if (!id.startsWith(prefix)) return null;
      const name = `node:${id.slice(prefix.length)}`;
      const lines = Object.keys(process.getBuiltinModule(name))
        .filter((field) => field !== "default" && /^[A-Za-z_$][\w$]*$/.test(field))
        .map((field, index) => [
          `const f${index} = /* @__PURE__ */ read(${JSON.stringify(field)});`,
          `export { f${index} as ${field} };`,
        ]);
      return [
        `const builtin = /* @__PURE__ */ process.getBuiltinModule(${JSON.stringify(name)});`,
        "const read = (field) => builtin[field];",
        ...lines.flat(),
        "export default builtin;",
      ].join("\n");
    },
  };
}

/** Has `import.meta.url` be what it is when each source is compiled to a file of its own. */
function ownLocation() {
  const mark = (path) => `__location_of__(${JSON.stringify(path)})`;
  return {
    name: "own-location",
    transform(code, id) {
      const path = relative(root, id);
      if (!path.startsWith("server/") || !code.includes("import.meta.url")) return null;
      return code.replaceAll("import.meta.url", mark(path.replace(/\.ts$/, ".js")));
    },
    renderChunk(code, { fileName }) {
      if (!code.includes("__location_of__")) return null;
      return code.replace(/__location_of__\("([^"]+)"\)/g, (_, path) => {
        const from = relative(dirname(fileName), path);
        const specifier = from.startsWith(".") ? from : `./${from}`;
        return `new URL(${JSON.stringify(specifier)}, import.meta.url).href`;
      });
    },
  };
}

/** Leaves out prom-client's push gateway: nothing here pushes, and it has node:https and TLS loaded. */
function withoutPushGateway() {
  return {
    name: "without-push-gateway",
    load: (id) =>
      id.endsWith("/node_modules/prom-client/lib/pushgateway.js")
        ? "module.exports = class Pushgateway {};"
        : null,
  };
}

/**
 * Has OpenTelemetry's exporter import @grpc/grpc-js, which it requires at run time by a function that no
 * bundler sees through: the package would have to be installed beside.
 */
function grpcOfExporter() {
  const call = '__require("@grpc/grpc-js")';
  return {
    name: "grpc-of-exporter",
    transform(code, id) {
      if (!id.includes("/@opentelemetry/otlp-grpc-exporter-base/") || !code.includes(call))
        return null;
      return `import * as grpcJs from "@grpc/grpc-js";\n${code.replaceAll(call, "grpcJs")}`;
    },
  };
}

/** Writes characters beyond ASCII as escapes: with a single one V8 keeps a file in twice the memory. */
function onlyAscii(code) {
  return code.replace(
    /[^\0-\x7f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Names and licences of the packages whose code is in the output, as their licences ask for.
 *
 * @param {readonly import("rolldown").OutputChunk[]} output
 */
async function licenses(output) {
  const folders = new Set();
  for (const { moduleIds = [] } of output) {
    for (const id of moduleIds) {
      const [folder] = /^\/.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? [];
      if (folder) folders.add(folder);
    }
  }
  const texts = [];
  for (const folder of [...folders].toSorted()) {
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const files = (await readdir(folder)).filter((name) => /^(licen[cs]e|notice)/i.test(name));
    const contents = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
    texts.push(
      [`${manifest.name} ${manifest.version} (${manifest.license})`, ...contents].join("\n\n"),
    );
  }
  return `${texts.join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}
