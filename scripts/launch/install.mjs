import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { inRoot, node, root } from "./paths.mjs";
import { runProgram } from "./run-program.mjs";

const lockfile = inRoot("package-lock.json");
/** Written by us when an install has succeeded; lies in node_modules, so it goes when they go. */
const stamp = inRoot("node_modules", ".tensorwire-installed");
/** Written by npm when an install has succeeded: what is there. */
const npmRecord = inRoot("node_modules", ".package-lock.json");

/**
 * Installs the packages of package-lock.json unless they are there. An install that was interrupted is
 * done again; one that runs in another process is waited for.
 *
 * @returns {Promise<boolean>} false if npm failed; what to do has been printed then
 */
export async function ensureInstalled() {
  const wanted = fingerprint();
  if (isInstalled(wanted)) return true;
  const unlock = await lock();
  try {
    // Another process may have done it while this one waited.
    if (isInstalled(wanted)) return true;
    return await install(wanted);
  } finally {
    unlock();
  }
}

function fingerprint() {
  return createHash("sha256")
    .update(readFileSync(lockfile))
    .update(`${process.platform} ${process.arch}`)
    .digest("hex");
}

function isInstalled(wanted) {
  if (!existsSync(node)) return false;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return true;
  if (!matchesRecord()) return false;
  writeFileSync(stamp, wanted);
  return true;
}

/** Whether an install by hand (`npm ci`) left what the lockfile asks for. */
function matchesRecord() {
  if (!existsSync(npmRecord)) return false;
  const { packages: wanted } = JSON.parse(readFileSync(lockfile, "utf8"));
  const { packages: present } = JSON.parse(readFileSync(npmRecord, "utf8"));
  return Object.entries(wanted).every(
    ([path, { version, optional, link }]) =>
      !path.startsWith("node_modules/") || optional || link || present[path]?.version === version,
  );
}

async function install(wanted) {
  const count = Object.keys(JSON.parse(readFileSync(lockfile, "utf8")).packages).length;
  console.error(
    `Installing ${count} packages into node_modules (about 850 MB there; one to three minutes, once) ...`,
  );
  rmSync(stamp, { force: true });
  const begun = Date.now();
  const heartbeat = setInterval(() => console.error(progress(begun)), 15_000);
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const args = ["ci", "--loglevel=error", "--no-audit", "--no-fund"];
  // Under `npm start` this is the same npm; it is JavaScript, and npm.cmd could not be spawned.
  const npm = process.env.npm_execpath;
  const code = npm?.endsWith(".js")
    ? await runProgram(process.execPath, [npm, ...args])
    : await runProgram("npm", args);
  clearInterval(heartbeat);
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  if (code !== 0 || !existsSync(node)) {
    console.error(interrupted ? interruption : failure(code));
    return false;
  }
  writeFileSync(stamp, wanted);
  console.error(`Installed in ${seconds(begun)} s.`);
  return true;
}

function progress(begun) {
  let folders = 0;
  try {
    folders = readdirSync(inRoot("node_modules")).length;
  } catch {
    // npm has not made the folder yet.
  }
  return `  still installing: ${seconds(begun)} s, ${folders} folders so far`;
}

function seconds(begun) {
  return Math.round((Date.now() - begun) / 1000);
}

const interruption = "The install was interrupted. Run the same command again; it begins anew.";

function failure(code) {
  return [
    `npm ci failed (exit code ${code}); its message is above, its log in ~/.npm/_logs.`,
    "Most often the network is the reason: check that `npm ping` answers, and set `npm config set proxy`",
    "and `https-proxy` behind a proxy. On a full disk, free 1.5 GB. EUSAGE means that package.json and",
    "package-lock.json differ: undo the change to one of them. Then run the same command again.",
  ].join("\n");
}

/** Keeps two installs of one checkout apart; the result unlocks. npm ci empties node_modules, so the lock lies elsewhere. */
async function lock() {
  const name = createHash("sha256").update(root).digest("hex").slice(0, 16);
  const path = join(tmpdir(), `tensorwire-install-${name}.lock`);
  let told = false;
  let emptySince = Date.now();
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const owner = readOwner(path);
    if (owner !== undefined) emptySince = Date.now();
    // Without a number the owner has just begun to write it, has unlocked, or was killed in between.
    const dead = owner === undefined ? Date.now() - emptySince > 5_000 : !isAlive(owner);
    if (dead) {
      rmSync(path, { force: true });
      continue;
    }
    if (owner !== undefined && !told) {
      console.error(`Process ${owner} is installing into this checkout; waiting for it ...`);
      told = true;
    }
    await wait(200);
  }
}

function readOwner(path) {
  try {
    return Number(readFileSync(path, "utf8")) || undefined;
  } catch {
    // It has unlocked.
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to another user.
    return error.code === "EPERM";
  }
}
