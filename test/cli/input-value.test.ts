import { readFileSync } from "node:fs";
import test from "ava";
import {
  type DeclaredInput,
  type InputValue,
  readInputValue,
  splitInput,
} from "../../server/cli/input-value.ts";
import type { Datatype } from "../../server/tensor/datatype.ts";

function declare(shape: readonly number[], datatype: Datatype = "FP32"): DeclaredInput {
  return { name: "x", datatype, shape };
}

function read(
  declared: DeclaredInput,
  text: string,
  files: Record<string, string> = {},
): InputValue {
  return readInputValue(declared, text, (path) => Buffer.from(files[path] ?? fail(path)));
}

function fail(path: string): never {
  throw new Error(`no file ${path}`);
}

test("NAME=VALUE is parted at the first equals sign", (t) => {
  t.deepEqual(splitInput("a=b=c"), { name: "a", value: "b=c" });
  t.is(splitInput("a"), undefined);
  t.is(splitInput("=1"), undefined);
});

const shapes = [
  ["1,2,3", [-1], [3]],
  ["1,2,3,4", [-1, 4], [1, 4]],
  ["1,2,3,4,5,6,7,8", [-1, 4], [2, 4]],
  ["1,2,3,4", [2, 2], [2, 2]],
  ["1,2,3,4", [2, -1], [2, 2]],
  ["1,2,3,4", [-1, 2, -1], [1, 2, 2]],
  ["5", [], []],
  ["5", [1, 1], [1, 1]],
  ["[[1,2],[3,4]]", [-1, 2], [2, 2]],
  ["[[1,2],[3,4]]", [-1, -1], [2, 2]],
  ["[]", [-1, 4], [0, 4]],
  // One row of a batch.
  ["[[1,2],[3,4]]", [-1, 2, 2], [1, 2, 2]],
  ["[[1,2],[3,4]]", [1, 2, 2], [1, 2, 2]],
  // What does not fit is sent as it is; the server says what it expects.
  ["[[1,2],[3,4]]", [-1, 4], [2, 2]],
] as const;

for (const [text, declared, shape] of shapes) {
  test(`${text} for [${declared.join(",")}] has shape [${shape.join(",")}]`, (t) => {
    const value = read(declare(declared), text);
    t.like(value, { kind: "json", shape: [...shape] });
  });
}

const refused = [
  ["1,2,3", [-1, 4], /got 3 values, expected a multiple of 4 for shape \[-1,4\]/],
  ["1,2,3", [2, 2], /got 3 values, expected 4 for shape \[2,2\]/],
  ["1,2", [2, -1, -1], /many shapes that fit \[2,-1,-1\]; nest them/],
  ["1,,2", [-1], /"" is no value of FP32/],
  ["1,abc", [-1], /"abc" is no value of FP32/],
  ["[1,2", [-1], /JSON/],
  ["@x.csv", [-1], /x\.csv is no file of a kind that is read; \.json and \.npy are/],
  ["@gone.json", [-1], /no file gone\.json/],
] as const;

for (const [text, declared, message] of refused) {
  test(`${text} for [${declared.join(",")}] is refused by the name of the input`, (t) => {
    const error = t.throws(() => read(declare(declared), text), { message });
    t.like(error, { reason: "SETTING_INVALID", metadata: { input: "x" } });
    t.regex(error.message, /^input "x": /);
  });
}

test("words and integers beyond 2^53 stay what they are", (t) => {
  t.like(read(declare([-1], "INT64"), "9007199254740993,-1"), { data: [9007199254740993n, -1] });
  t.like(read(declare([-1], "BOOL"), "true,false"), { data: [true, false] });
  t.like(read(declare([-1]), "NaN,-Infinity, 1e-3"), { data: ["NaN", "-Infinity", 0.001] });
});

test("values of BYTES are texts, whatever they look like", (t) => {
  t.like(read(declare([-1], "BYTES"), "1,true,a b"), { data: ["1", "true", "a b"] });
});

test("a JSON file is read like JSON on the command line", (t) => {
  const files = { "a.json": "[[1,2],[3,4]]" };
  t.like(read(declare([-1, 2]), "@a.json", files), {
    data: [
      [1, 2],
      [3, 4],
    ],
    shape: [2, 2],
  });
});

test("a JSON file that is not UTF-8 is refused", (t) => {
  t.throws(() => readInputValue(declare([-1]), "@a.json", () => Uint8Array.of(0x5b, 0xff, 0x5d)), {
    message: /input "x": .*encoded/,
  });
});

test("a NumPy file keeps its datatype and shape, and gets the batch dimension that it lacks", (t) => {
  const file = readFileSync(new URL("../fixtures/npy/float32.npy", import.meta.url));
  const value = readInputValue(declare([-1, 2, 3]), "@a.npy", () => file);
  t.is(value.kind, "npy");
  t.like(value.kind === "npy" ? value.array : {}, { datatype: "FP32", shape: [1, 2, 3] });
});
