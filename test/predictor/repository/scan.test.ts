import { symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import test from "ava";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { isModelName, isVersionName } from "../../../server/predictor/repository/model-name.ts";
import { fingerprint, scanRepositories } from "../../../server/predictor/repository/scan.ts";
import { temporaryFolder, writeFiles } from "../../support/temporary-folder.ts";

async function found(paths: readonly string[], modelName?: string): Promise<string[]> {
  return (await scanRepositories(paths, modelName)).map(
    ({ name, versions }) => `${name}:${[...versions.keys()].join("+")}`,
  );
}

test("a folder of models gives each with its versions in rising order", async (t) => {
  const folder = await temporaryFolder(t, {
    "b/10/model.onnx": "",
    "b/9/model.onnx": "",
    "b/0/model.onnx": "",
    "b/01/model.onnx": "",
    "a/config.pbtxt": "",
    "flat/model.onnx": "",
    ".hidden/1/model.onnx": "",
    "notes/readme.txt": "",
    "file.txt": "",
  });
  t.deepEqual(await found([folder]), ["a:", "b:9+10", "flat:1"]);
});

test("a folder that holds model.onnx is one model under its own or the given name", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": "" });
  t.deepEqual(await found([folder]), [`${basename(folder)}:1`]);
  t.deepEqual(await found([folder], "churn"), ["churn:1"]);
});

test("a file is one model under its stem or the given name", async (t) => {
  const folder = await temporaryFolder(t, { "digits.onnx": "", "model.onnx": "", "data.txt": "" });
  t.deepEqual(await found([join(folder, "digits.onnx")]), ["digits:1"]);
  t.deepEqual(await found([join(folder, "model.onnx")]), [`${basename(folder)}:1`]);
  t.deepEqual(await found([join(folder, "digits.onnx")], "d"), ["d:1"]);
  await t.throwsAsync(found([join(folder, "data.txt")]), {
    instanceOf: TensorwireError,
    message: /ends in none of \.onnx, \.ts/,
  });
});

test("a path that is not there, and a name that is twice, are refused", async (t) => {
  const folder = await temporaryFolder(t, { "one/m/1/model.onnx": "", "two/m/1/model.onnx": "" });
  await t.throwsAsync(found([join(folder, "none")]), {
    instanceOf: TensorwireError,
    message: /ENOENT/,
  });
  await t.throwsAsync(found([join(folder, "one"), join(folder, "two")]), {
    instanceOf: TensorwireError,
    message: /"m" is in .*one.m and in .*two.m/,
  });
});

test("links to folders count as folders, links to nothing do not", async (t) => {
  const folder = await temporaryFolder(t, { "store/v7/model.onnx": "", "repo/m/notes.txt": "" });
  await symlink(join(folder, "store/v7"), join(folder, "repo/m/7"));
  await symlink(join(folder, "gone"), join(folder, "repo/m/8"));
  t.deepEqual(await found([join(folder, "repo")]), ["m:7"]);
});

test("the fingerprint changes with each file, and only then", async (t) => {
  const folder = await temporaryFolder(t, { "m/1/model.onnx": "a" });
  const now = async (): Promise<string> =>
    fingerprint((await scanRepositories([folder], undefined))[0]!);
  const first = await now();
  t.is(await now(), first);
  await writeFiles(folder, { "m/1/model.onnx": "ab" });
  const second = await now();
  t.not(second, first);
  await writeFiles(folder, { "m/config.pbtxt": "" });
  t.not(await now(), second);
  await writeFiles(folder, { "m/initial_state/first": "a" });
  const third = await now();
  await writeFiles(folder, { "m/initial_state/first": "ab" });
  t.not(await now(), third);
});

test("names that could be paths are no model names, and versions are positive integers", (t) => {
  t.deepEqual(["iris", "a b", "ä", "a:b"].map(isModelName), [true, true, true, true]);
  t.deepEqual(
    ["", "..", ".a", "a/b", "a\\b", "a\n", "x".repeat(256)].map(isModelName),
    new Array(7).fill(false),
  );
  t.deepEqual(["1", "20261123"].map(isVersionName), [true, true]);
  t.deepEqual(
    ["0", "01", "-1", "1.0", "v1", "", "12345678901234567890"].map(isVersionName),
    new Array(7).fill(false),
  );
});
