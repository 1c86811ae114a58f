// What the scripts of package.json run. Plain JavaScript without packages: it must work on Node 20 in a
// checkout where nothing is installed yet.
import { build, builtPage, hasPage } from "./launch/build.mjs";
import { check } from "./launch/check.mjs";
import { ensureInstalled } from "./launch/install.mjs";
import { inRoot, node } from "./launch/paths.mjs";
import { runProgram } from "./launch/run-program.mjs";

const ava = inRoot("node_modules", "ava", "entrypoints", "cli.js");

/** Tasks by name; each gives its exit code. They run once everything is installed. */
const tasks = {
  start: serveExamples,
  test: (args) => runProgram(node, [ava, ...args]),
  "test:interop": (args) => runProgram(node, [ava, "--config", "ava.interop.config.js", ...args]),
  check,
  format: () => runProgram("biome", ["check", "--write", "."]),
  lint: () => runProgram("biome", ["check", "."]),
  typecheck: () => runProgram("tsc", ["--noEmit"]),
  generate,
  build: async () => ((await build(["client", "page", "server"])) ? 0 : 1),
  "example:iris": async (args) =>
    (await build(["client"])) ? runProgram(node, ["examples/iris-node/main.ts", ...args]) : 1,
  bench: (args) => runProgram(node, ["bench/run.ts", ...args]),
};

async function serveExamples(args) {
  if (!(await build(hasPage() ? ["client", "page"] : []))) return 1;
  const page = hasPage() ? ["--static-dir", builtPage] : [];
  return runProgram(node, [
    "server/cli/main.ts",
    "serve",
    "examples/models",
    ...page,
    // The last of several values of a flag counts.
    ...args,
  ]);
}

async function generate() {
  const code = await runProgram("buf", ["generate"]);
  return code === 0 ? runProgram(node, ["scripts/generate-settings-doc.ts"]) : code;
}

const [name, ...args] = process.argv.slice(2);
const task = tasks[name];
if (!task) {
  console.error(`usage: node scripts/launch.mjs ${Object.keys(tasks).join("|")}`);
  process.exitCode = 2;
} else if (Number(process.versions.node.split(".")[0]) < 20) {
  console.error(
    `This is Node ${process.versions.node}; npm ${name} needs Node 20 or newer: https://nodejs.org`,
  );
  process.exitCode = 2;
} else {
  process.exitCode = (await ensureInstalled()) ? await task(args) : 1;
}
