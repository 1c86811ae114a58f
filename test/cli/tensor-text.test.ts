import test from "ava";
import { tensor } from "../../clients/typescript/src/node.ts";
import { classesText, tensorText } from "../../server/cli/tensor-text.ts";

function lines(text: string): string[] {
  return text.split("\n");
}

test("a tensor has a heading, and a row for each last dimension", (t) => {
  t.deepEqual(lines(tensorText("y", tensor([2, 3], [1, 2, 3, 10, 20, 30], "INT32"))), [
    "y INT32[2,3]",
    "   1   2   3",
    "  10  20  30",
  ]);
});

test("rows of a tensor of three dimensions begin with their position", (t) => {
  t.deepEqual(lines(tensorText("y", tensor([2, 2, 1], [1, 2, 3, 4], "INT8"))), [
    "y INT8[2,2,1]",
    "  [0,0]  1",
    "  [0,1]  2",
    "  [1,0]  3",
    "  [1,1]  4",
  ]);
});

test("a scalar is one value, and an empty tensor has none", (t) => {
  t.deepEqual(lines(tensorText("y", tensor([], [2.5]))), ["y FP32[]", "  2.5"]);
  t.deepEqual(lines(tensorText("y", tensor([0, 4], []))), ["y FP32[0,4]", "  no values"]);
});

test("floats have the digits of their datatype", (t) => {
  t.regex(tensorText("y", tensor([1], [0.1])), /\n {2}0\.1$/);
  t.regex(tensorText("y", tensor([1], [1 / 3])), /\n {2}0\.33333334$/);
  t.regex(tensorText("y", tensor([1], [1 / 3], "FP64")), /\n {2}0\.3333333333333333$/);
  t.regex(tensorText("y", tensor([1], [1 / 3], "FP16")), /\n {2}0\.3333$/);
  t.regex(tensorText("y", tensor([1], [1 / 3], "BF16")), /\n {2}0\.334$/);
  t.regex(tensorText("y", tensor([2], [Number.NaN, -1e30])), /\n {2}NaN {2}-1e\+30$/);
  t.regex(tensorText("y", tensor([2], [16777215, 16777216])), /\n {2}16777215 {2}16777216$/);
});

test("integers of 64 bits, booleans and texts are shown as they are", (t) => {
  t.regex(tensorText("y", tensor([1], [9007199254740993n])), /\n {2}9007199254740993$/);
  t.regex(tensorText("y", tensor([2], [true, false])), /\n {2}true {2}false$/);
  t.regex(tensorText("y", tensor([1], ["a\nb"])), /\n {2}"a\\nb"$/);
});

test("the middle of large tensors is left out", (t) => {
  const values = Array.from({ length: 30 * 40 }, (_, index) => index);
  const shown = lines(tensorText("y", tensor([30, 40], values, "INT32")));
  t.is(shown.length, 1 + 13);
  t.is(shown[1], "     0     1     2     3     4  ...    35    36    37    38    39");
  t.is(shown[7], "   ...");
  t.is(shown[13], "  1160  1161  1162  1163  1164  ...  1195  1196  1197  1198  1199");
});

test("a classification is a table of scores, classes and labels", (t) => {
  const answer = tensor([1, 2], ["0.9:0:setosa", "0.1:2:a:b"]);
  t.deepEqual(lines(classesText("y", answer)), [
    "y [1,2]",
    "  SCORE  CLASS  LABEL",
    "  0.9    0      setosa",
    "  0.1    2      a:b",
  ]);
});
