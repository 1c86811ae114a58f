import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { inRoot, node } from "./paths.mjs";
import { runProgram } from "./run-program.mjs";

/** Folder of the page that `npm start` serves, and of what it is built into. */
const page = inRoot("examples", "digits-page");
/** What `npm start` serves under `/`, if there is a page. */
export const builtPage = join(page, "dist");

/** Parts of the project that are built: what from, what into, and how. */
const parts = {
  client: {
    sources: ["clients/typescript/src", "server/errors", "server/tensor", "gen", "tsconfig.json"],
    output: inRoot("clients", "typescript", "dist"),
    run: () => runProgram(node, ["scripts/build-client.mjs"]),
  },
  page: {
    sources: ["examples/digits-page", "clients/typescript/dist"],
    output: builtPage,
    run: () => runProgram(node, ["scripts/build-page.mjs"]),
  },
  server: {
    sources: [
      "server",
      "clients/typescript/src",
      "gen",
      "tsconfig.json",
      "tsconfig.model-types.json",
      "scripts/bundle.mjs",
      "package.json",
    ],
    output: inRoot("dist"),
    run: () => runProgram(node, ["scripts/build-server.mjs"]),
  },
};

/** Whether the checkout has a page to serve. */
export function hasPage() {
  return existsSync(join(page, "index.html"));
}

/**
 * Builds parts whose sources changed since they were built last.
 *
 * @param {readonly (keyof typeof parts)[]} names
 * @returns {Promise<boolean>} false if one failed
 */
export async function build(names) {
  for (const name of names) {
    if (name === "page" && !hasPage()) continue;
    const { sources, output, run } = parts[name];
    const record = inRoot("node_modules", ".cache", "tensorwire", `${name}.built`);
    const newest = String(Math.max(0, ...sources.map((source) => newestIn(inRoot(source)))));
    if (existsSync(output) && existsSync(record) && readFileSync(record, "utf8") === newest)
      continue;
    console.error(`Building the ${name} (some seconds) ...`);
    rmSync(record, { force: true });
    if ((await run()) !== 0) {
      console.error(`The ${name} was not built; the message is above.`);
      return false;
    }
    mkdirSync(inRoot("node_modules", ".cache", "tensorwire"), { recursive: true });
    writeFileSync(record, newest);
  }
  return true;
}

/** Time of the last change of a file, or of the files under a folder; what is built is left out. */
function newestIn(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(
    stat.mtimeMs,
    ...readdirSync(path)
      .filter((name) => name !== "node_modules" && name !== "dist")
      .map((name) => newestIn(join(path, name))),
  );
}
