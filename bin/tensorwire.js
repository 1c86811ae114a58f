#!/usr/bin/env node
// Plain JavaScript that old versions of Node can read: it finds the program, and a Node that runs it.
import { existsSync } from "node:fs";
import { sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Oldest Node that runs the program: the first 22 that strips types without being asked. */
const oldest = [22, 18];

const root = new URL("../", import.meta.url);
const built = new URL("dist/server/cli/main.js", root);
const source = new URL("server/cli/main.ts", root);
const ownNode = fileURLToPath(new URL("node_modules/node/bin/node", root));
// Node does not strip types under node_modules, and a published package has no sources.
const installed = fileURLToPath(root).includes(`${sep}node_modules${sep}`);
const program = existsSync(built) && (installed || !existsSync(source)) ? built : source;

if (!existsSync(program)) {
  fail("this package is incomplete: dist/server/cli/main.js is missing; install it again");
} else if (program === source && !existsSync(new URL("node_modules", root))) {
  fail("nothing is installed in this checkout yet; run npm start once, or npm ci");
} else if (isRecent(process.versions.node)) {
  await import(program.href);
} else if (existsSync(ownNode)) {
  await runWith(ownNode);
} else {
  fail(
    `this is Node ${process.versions.node}; tensorwire needs Node ${oldest.join(".")} or newer: https://nodejs.org/en/download`,
  );
}

function isRecent(version) {
  const [major, minor] = version.split(".").map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

async function runWith(node) {
  // Not loaded where the program runs in this process: it takes memory.
  const { spawn } = await import("node:child_process");
  const { constants } = await import("node:os");
  const child = spawn(node, [fileURLToPath(program), ...process.argv.slice(2)], {
    stdio: "inherit",
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
    process.on(signal, () => child.kill(signal));
  }
  child.on("error", (error) => fail(error.message));
  child.on("exit", (code, signal) => {
    process.exit(code ?? 128 + (constants.signals[signal] ?? 0));
  });
}

function fail(message) {
  console.error(`tensorwire: ${message}`);
  process.exitCode = 2;
}
