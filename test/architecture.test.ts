import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Folders that each folder may import from; docs/architecture.md draws it. */
const leaves = [
  "server/tensor",
  "server/errors",
  "server/access",
  "server/observability",
  "server/lifecycle",
  "server/config",
  "server/random",
  "gen",
];
const allowed: Readonly<Record<string, readonly string[]>> = {
  "server/errors": ["gen", "server/tensor"],
  "server/tensor": ["gen", "server/errors"],
  "server/access": ["server/errors", "server/observability"],
  "server/observability": ["server/errors"],
  "server/lifecycle": ["server/errors", "server/observability"],
  "server/random": [],
  "server/cluster": ["server/errors", "server/observability", "server/lifecycle"],
  "server/config": ["server/errors"],
  "server/wire": leaves,
  "server/rpc": [...leaves, "server/wire"],
  "server/model": [
    "gen",
    "server/errors",
    "server/tensor",
    "server/generation",
    "server/random",
    "clients/typescript",
  ],
  "server/generation": ["server/errors", "server/tensor", "server/random"],
  "server/autoscaling": ["gen", "server/errors", "server/observability", "server/random"],
  "server/optimize": leaves,
  "server/predictor": [...leaves, "server/wire", "server/rpc", "server/generation", "server/model"],
  "server/queue-proxy": [...leaves, "server/wire", "server/rpc"],
  "server/cli": [
    ...leaves,
    "server/cluster",
    "server/wire",
    "server/rpc",
    "server/autoscaling",
    "server/optimize",
    "server/predictor",
    "server/queue-proxy",
    "clients/typescript",
  ],
  "clients/typescript": ["gen", "server/tensor", "server/errors"],
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/node_modules|dist|\.d\.ts$/.test(name))
    .map((name) => join(folder, name));
}

function folderOf(path: string): string {
  const parts = path.split("/");
  return parts[0] === "gen" ? "gen" : parts.slice(0, 2).join("/");
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g)].map(([, path]) =>
    relative(root, resolve(root, dirname(file), path!)),
  );
}

test("the folders of server/ are those that the architecture names", (t) => {
  const folders = readdirSync(join(root, "server"), { withFileTypes: true }).map(
    ({ name }) => `server/${name}`,
  );
  t.deepEqual(
    folders.sort(),
    Object.keys(allowed)
      .filter((name) => name.startsWith("server/"))
      .sort(),
  );
});

for (const [folder, targets] of Object.entries(allowed)) {
  test(`${folder} imports only from itself and what lies below it`, (t) => {
    const files = sources(folder);
    t.true(files.length > 0);
    const wrong = files.flatMap((file) =>
      imports(file)
        .filter((target) => folderOf(target) !== folder && !targets.includes(folderOf(target)))
        .map((target) => `${file} > ${target}`),
    );
    t.deepEqual(wrong, []);
  });
}

test("no module is called utils, and nothing has a default export", (t) => {
  const files = Object.keys(allowed).flatMap(sources);
  t.deepEqual(
    files.filter((file) => /\/(utils?|helpers|common|misc)(\.ts|\/)/.test(file)),
    [],
  );
  t.deepEqual(
    files.filter((file) => /^export default/m.test(readFileSync(join(root, file), "utf8"))),
    [],
  );
});
