import { node } from "./paths.mjs";
import { runProgram } from "./run-program.mjs";

/** Everything that has to hold beside the tests, by name. */
const checks = {
  "format and lint": () => runProgram("biome", ["check", "."]),
  types: () => runProgram("tsc", ["--noEmit"]),
  "proto style": () => runProgram("buf", ["lint"]),
  "proto compatibility": () => runProgram(node, ["scripts/check-breaking.mjs"]),
  "generated code": () => runProgram(node, ["scripts/check-gen-drift.mjs"]),
  "docs/settings.md": () => runProgram(node, ["scripts/generate-settings-doc.ts", "--check"]),
};

/**
 * Runs all checks, also after one failed, and prints which held.
 *
 * @returns {Promise<number>} exit code
 */
export async function check() {
  const results = [];
  for (const [name, run] of Object.entries(checks)) {
    console.error(`\n== ${name}`);
    results.push([name, await run()]);
  }
  console.error("");
  for (const [name, code] of results) console.error(`${code === 0 ? "ok    " : "FAILED"}  ${name}`);
  return results.every(([, code]) => code === 0) ? 0 : 1;
}
