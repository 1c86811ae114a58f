import test from "ava";
import { definitionList, textTable, wrapText } from "../../server/cli/text-layout.ts";

test("columns are as wide as their widest cell, and lines have no blanks at their end", (t) => {
  t.is(
    textTable(
      [
        ["a", "bb", ""],
        ["aaa", "b", "c"],
      ],
      "  ",
    ),
    "  a    bb\n  aaa  b   c",
  );
});

test("colours do not count as width", (t) => {
  t.is(
    textTable([
      ["\u001b[1ma\u001b[22m", "b"],
      ["aa", "b"],
    ]),
    "\u001b[1ma\u001b[22m   b\naa  b",
  );
});

test("text is broken at blanks, and a longer word stands alone", (t) => {
  t.deepEqual(wrapText("aa bb cc", 5), ["aa bb", "cc"]);
  t.deepEqual(wrapText("a bbbbbbbb c", 4), ["a", "bbbbbbbb", "c"]);
});

test("meanings stand beside their terms", (t) => {
  t.deepEqual(
    definitionList(
      [
        ["a", "one two"],
        ["bbb", "three"],
      ],
      12,
    ),
    ["  a    one", "       two", "  bbb  three"],
  );
});
