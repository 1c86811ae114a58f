// Generates code from proto/ into a temporary folder and compares it with gen/, byte by byte. Exits
// with 1 if a file differs, is missing or is extra.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { inRoot } from "./launch/paths.mjs";
import { runProgram } from "./launch/run-program.mjs";

const folder = await mkdtemp(join(tmpdir(), "tensorwire-gen-"));
try {
  process.exitCode = await checkDrift(folder);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** @returns {Promise<number>} exit code */
async function checkDrift(folder) {
  const status = await runProgram("buf", ["generate", "--output", folder]);
  if (status !== 0) return status;
  const expected = await filesIn(join(folder, "gen"));
  const committed = await filesIn(inRoot("gen"));
  // An empty result would find no difference in an empty gen/.
  if (expected.size === 0) {
    console.error("buf generate wrote no file; is buf.gen.yaml as it should be?");
    return 1;
  }
  const drift = [];
  for (const name of [...new Set([...expected.keys(), ...committed.keys()])].sort()) {
    const fresh = expected.get(name);
    const old = committed.get(name);
    if (old === undefined) drift.push(`gen/${name} is missing`);
    else if (fresh === undefined) drift.push(`gen/${name} is extra: nothing in proto/ gives it`);
    else if (!fresh.equals(old)) drift.push(`gen/${name} differs from what proto/ gives`);
  }
  if (drift.length === 0) {
    console.log(`gen/ is what proto/ gives: ${expected.size} files compared`);
    return 0;
  }
  for (const line of drift) console.error(line);
  console.error("Run npm run generate, and commit gen/ with proto/.");
  return 1;
}

/**
 * Contents of the files in a folder, by path with slashes.
 *
 * @returns {Promise<Map<string, Buffer>>} empty if there is no folder
 */
async function filesIn(folder) {
  let entries;
  try {
    entries = await readdir(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if (error.code === "ENOENT") return new Map();
    throw error;
  }
  const files = new Map();
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(relative(folder, path).split(sep).join("/"), await readFile(path));
  }
  return files;
}
