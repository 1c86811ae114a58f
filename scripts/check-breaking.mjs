// Compares proto/ of the working tree with earlier states of it, and exits with 1 if a change breaks
// those who use one of them. The earlier states are, in this order:
//
// - the revision in TENSORWIRE_BREAKING_BASE, if it is set;
// - origin/main, if HEAD is another commit;
// - the last commits that changed proto/, ten at most.
import { execFileSync } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inRoot, root } from "./launch/paths.mjs";
import { runProgram } from "./launch/run-program.mjs";

const maxCommits = 10;

process.exitCode = await checkBreaking();

/** @returns {Promise<number>} exit code */
async function checkBreaking() {
  const bases = findBases();
  if (typeof bases === "string") {
    console.error(bases);
    return 1;
  }
  const commits = bases.filter((commit) => git("ls-tree", commit, "proto/"));
  if (commits.length === 0) {
    console.log("proto/ has no earlier state to be compared with; nothing was checked");
    return 0;
  }
  let broken = 0;
  for (const commit of commits) if (!(await keeps(commit))) broken++;
  if (broken === 0) {
    console.log(`proto/ breaks nothing: compared with ${commits.map(short).join(", ")}`);
  }
  return broken === 0 ? 0 : 1;
}

/** Commits to compare with; a sentence if the one that was asked for is not there. */
function findBases() {
  const asked = process.env.TENSORWIRE_BREAKING_BASE;
  if (asked) {
    const commit = commitOf(asked);
    return commit ? [commit] : `TENSORWIRE_BREAKING_BASE: git knows no revision "${asked}" here`;
  }
  const head = commitOf("HEAD");
  const main = commitOf("origin/main");
  if (head === undefined) return [];
  if (main !== undefined && main !== head) return [main];
  const changes = git(
    "log",
    "--format=%H",
    `--max-count=${maxCommits + 1}`,
    "HEAD",
    "--",
    "proto/",
  );
  const commits = changes ? changes.split("\n") : [];
  // Without changes of its own, the working tree is what the last of them made.
  const last = git("status", "--porcelain", "--", "proto/") ? 0 : 1;
  return commits.slice(last, last + maxCommits);
}

/** Whether proto/ of the working tree breaks nothing of a commit's; prints what it breaks. */
async function keeps(commit) {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-breaking-"));
  try {
    // An archive, because buf reads a commit by cloning, which a shallow clone does not bear.
    const archive = join(folder, "proto.tar");
    execFileSync("git", ["archive", "--format=tar", `--output=${archive}`, commit, "proto/"], {
      cwd: root,
    });
    // The working tree's settings hold for both sides.
    await cp(inRoot("buf.yaml"), join(folder, "buf.yaml"));
    execFileSync("tar", ["-xf", "proto.tar"], { cwd: folder });
    if ((await runProgram("buf", ["breaking", "--against", folder])) === 0) return true;
    console.error(`proto/ breaks what ${short(commit)} has; see above`);
    return false;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function commitOf(revision) {
  return git("rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`);
}

function short(commit) {
  return git("log", "--max-count=1", "--format=%h (%s)", commit) ?? commit;
}

/** Output of git; `undefined` if it fails: no git, no clone, or no such revision. */
function git(...args) {
  try {
    return execFileSync("git", args, {
      cwd: root,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return undefined;
  }
}
