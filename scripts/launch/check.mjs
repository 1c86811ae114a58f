import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inRoot, node, root } from "./paths.mjs";
import { runProgram } from "./run-program.mjs";

/** Everything that has to hold beside the tests, by name. */
const checks = {
  "format and lint": () => runProgram("biome", ["check", "."]),
  types: () => runProgram("tsc", ["--noEmit"]),
  "proto style": () => runProgram("buf", ["lint"]),
  "proto compatibility": breaking,
  "generated code": generatedCode,
  "docs/settings.md": () => runProgram(node, ["scripts/generate-settings-doc.ts", "--check"]),
};

/** Runs all checks, also after one failed, and prints which held. @returns {Promise<number>} exit code */
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

/** Compares proto/ with the last state of the main branch; on it, with the commit before. */
async function breaking() {
  const against = baseline();
  if (against === undefined) {
    console.error(
      "no commit to compare with: this is no clone, or its first commit; nothing checked",
    );
    return 0;
  }
  return runProgram("buf", ["breaking", "--against", `.git#ref=${against}`]);
}

function baseline() {
  const head = revision("HEAD");
  const main = revision("main") ?? revision("origin/main");
  const candidate = main === head ? revision("HEAD^") : main;
  return candidate !== undefined && hasProtos(candidate) ? candidate : undefined;
}

function revision(name) {
  return git("rev-parse", "--verify", "--quiet", `${name}^{commit}`);
}

function hasProtos(commit) {
  return Boolean(git("ls-tree", commit, "proto/"));
}

function git(...args) {
  try {
    return execFileSync("git", args, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    // No git, no clone, or no such revision.
    return undefined;
  }
}

/** Generates again elsewhere, and compares with gen/. */
async function generatedCode() {
  const folder = mkdtempSync(join(tmpdir(), "tensorwire-gen-"));
  try {
    const code = await runProgram("buf", ["generate", "-o", folder]);
    if (code !== 0) return code;
    const [fresh, committed] = [filesUnder(join(folder, "gen")), filesUnder(inRoot("gen"))];
    const names = new Set([...fresh.keys(), ...committed.keys()]);
    const differing = [...names].filter((name) => fresh.get(name) !== committed.get(name));
    for (const name of differing) console.error(`gen/${name} is not what proto/ gives`);
    if (differing.length > 0) console.error("run npm run generate and commit gen/");
    return differing.length === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Contents of the files under a folder, by path in it. */
function filesUnder(folder, prefix = "") {
  const files = new Map();
  if (!existsSync(folder)) return files;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) {
      for (const [inner, text] of filesUnder(path, `${prefix}${name}/`)) files.set(inner, text);
    } else files.set(prefix + name, readFileSync(path, "utf8"));
  }
  return files;
}
