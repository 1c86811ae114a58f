import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { WatchedFile } from "../../server/access/watched-file.ts";
import { recordingLog } from "../support/silent-log.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

async function watch(t: ExecutionContext, path: string) {
  const taken: string[] = [];
  const outcomes: string[] = [];
  const log = recordingLog();
  const file = await WatchedFile.open({
    path,
    intervalMs: 5,
    take(text) {
      if (text.startsWith("broken")) throw new Error("it is broken");
      taken.push(text);
    },
    onReload: (outcome) => outcomes.push(outcome),
    log,
  });
  t.teardown(() => file.close());
  return { taken, outcomes, log };
}

test("a file that is written anew is taken; one that is broken is told of once and leaves what was", async (t) => {
  const folder = await temporaryFolder(t, { f: "one" });
  const path = join(folder, "f");
  const { taken, outcomes, log } = await watch(t, path);
  // Whole at once: who writes into the file lets it be seen half written.
  const replace = async (text: string): Promise<void> => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  await replace("two");
  await until(
    () => taken.length === 2,
    () => taken.join(),
  );
  await replace("broken");
  await until(
    () => outcomes.includes("failed"),
    () => outcomes.join(),
  );
  await replace("three");
  await until(
    () => taken.length === 3,
    () => taken.join(),
  );
  t.deepEqual(taken, ["one", "two", "three"]);
  t.deepEqual(
    outcomes.filter((outcome) => outcome === "failed"),
    ["failed"],
  );
  const errors = log.entries.filter(({ level }) => level === "error");
  t.deepEqual(errors[0]?.fields, { file: path, why: "it is broken" });
});

test("a link that is swapped, as Kubernetes does it for a ConfigMap, is followed", async (t) => {
  const folder = await temporaryFolder(t, { "a/keys": "one", "b/keys": "two" });
  await symlink("a", join(folder, "..data"));
  await symlink("..data/keys", join(folder, "keys"));
  const { taken } = await watch(t, join(folder, "keys"));
  await symlink("b", join(folder, "..next"));
  await rename(join(folder, "..next"), join(folder, "..data"));
  await until(
    () => taken.length === 2,
    () => taken.join(),
  );
  t.deepEqual(taken, ["one", "two"]);
});

test("a file that goes away is told of once, and taken when it comes back", async (t) => {
  const folder = await temporaryFolder(t, { f: "one" });
  const path = join(folder, "f");
  const { taken, outcomes } = await watch(t, path);
  await rm(path);
  await until(
    () => outcomes.length === 1,
    () => outcomes.join(),
  );
  await writeFile(`${path}.new`, "two");
  await rename(`${path}.new`, path);
  await until(
    () => taken.length === 2,
    () => taken.join(),
  );
  t.deepEqual(outcomes, ["failed", "taken"]);
});

test("a file that cannot be taken at first fails the opening", async (t) => {
  const folder = await temporaryFolder(t, { f: "broken" });
  await t.throwsAsync(watch(t, join(folder, "f")), { message: "it is broken" });
  await t.throwsAsync(watch(t, join(folder, "none")), { message: /ENOENT/ });
  await mkdir(join(folder, "folder"));
  await t.throwsAsync(watch(t, join(folder, "folder")), { message: /EISDIR/ });
});
