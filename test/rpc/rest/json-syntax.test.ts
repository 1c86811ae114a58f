import test from "ava";
import fc from "fast-check";
import { findSyntaxProblem, nestsDeeper } from "../../../server/rpc/rest/json-syntax.ts";

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON in which some characters are replaced, left out or put in. */
const damaged = fc
  .tuple(
    fc.json(),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.nat(2),
        fc.constantFrom(...'[]{}",:\\ 019.eE+-tnu\n\t\u0001', "true", "\\u00zz", "\\n"),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([json, changes]) =>
    changes.reduce((text, [place, left, added]) => {
      const at = place % (text.length + 1);
      return text.slice(0, at) + added + text.slice(at + left);
    }, json),
  );

test("a problem is found exactly in what JSON.parse refuses", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(damaged, (text) => (findSyntaxProblem(text) === undefined) === isJson(text)),
      { numRuns: 5000 },
    ),
  );
});

for (const [text, position, expected] of [
  ["", 0, "a value"],
  ['{"a":x}', 5, "a value"],
  ['{"a":1,}', 7, "a name in quotes"],
  ["{a:1}", 1, 'a name in quotes or "}"'],
  ['{"a" 1}', 5, '":"'],
  ["[1,2", 4, '"," or "]"'],
  ["[01]", 2, '"," or "]"'],
  ["[1.]", 2, '"," or "]"'],
  ["[1}", 2, '"," or "]"'],
  ["[,]", 1, "a value"],
  ["[NaN]", 1, "a value"],
  ["{} {}", 3, "the end"],
  ['"a\nb"', 2, "an escape for a control character"],
  ['"\\x"', 2, "an escape"],
  ['"a', 2, "the closing quote of a string"],
] as const) {
  test(`${JSON.stringify(text)} is no JSON from ${position} on, where ${expected} is expected`, (t) => {
    t.deepEqual(findSyntaxProblem(text), { position, expected });
  });
}

test("depth is counted by brackets that are open, not by those in strings", (t) => {
  t.false(nestsDeeper("[[[]]]", 3));
  t.true(nestsDeeper("[[[]]]", 2));
  t.true(nestsDeeper('[{"a":[]}]', 2));
  t.false(nestsDeeper("[[],[],[],[]]", 2));
  t.false(nestsDeeper('["[[[[", "\\"[[[[", {}]', 2));
});

test("depth is that of the value, for any JSON", (t) => {
  const depthOf = (value: unknown): number =>
    typeof value === "object" && value !== null
      ? 1 + Math.max(0, ...Object.values(value).map(depthOf))
      : 0;
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 6 }),
        fc.nat(6),
        (json, limit) => nestsDeeper(json, limit) === depthOf(JSON.parse(json)) > limit,
      ),
    ),
  );
});
