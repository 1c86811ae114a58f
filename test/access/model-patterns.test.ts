import test from "ava";
import fc from "fast-check";
import { allModels, ModelPatterns } from "../../server/access/model-patterns.ts";

/** The same as a regular expression, which is another implementation. */
function asRegExp(glob: string): RegExp {
  const escaped = glob.replaceAll(/[^*?]/gu, (character) => RegExp.escape(character));
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`, "su");
}

/** Few characters, so that globs and names often meet. */
const nameCharacter = fc.constantFrom("a", "b", ".", "-", "[", "é", "🦊");
const name = fc.string({ unit: nameCharacter, maxLength: 12 });
const glob = fc.string({
  unit: fc.oneof(nameCharacter, fc.constantFrom("*", "?")),
  maxLength: 10,
});

declare global {
  // Of ES2025, which Node 24 has and the types of the compiler's target have not.
  interface RegExpConstructor {
    escape(text: string): string;
  }
}

test("a glob matches what the regular expression of it matches", (t) => {
  fc.assert(
    fc.property(glob, name, (pattern, model) => {
      t.is(
        new ModelPatterns([pattern]).allows(model),
        asRegExp(pattern).test(model),
        `${pattern} on ${model}`,
      );
    }),
    { numRuns: 5000 },
  );
});

test("of several patterns one is enough, and none allows nothing", (t) => {
  fc.assert(
    fc.property(fc.array(glob, { maxLength: 4 }), name, (patterns, model) => {
      t.is(
        new ModelPatterns(patterns).allows(model),
        patterns.some((pattern) => asRegExp(pattern).test(model)),
      );
    }),
  );
});

test("a pattern that is made of parts of a name, with stars in place of others, matches it", (t) => {
  const parts = fc.array(fc.tuple(name, fc.boolean()), { maxLength: 6 });
  fc.assert(
    fc.property(parts, (list) => {
      const model = list.map(([text]) => text).join("");
      const pattern = list.map(([text, kept]) => (kept ? text : "*")).join("");
      t.true(new ModelPatterns([pattern]).allows(model), `${pattern} on ${model}`);
    }),
  );
});

test("characters of regular expressions and capital letters mean themselves", (t) => {
  const patterns = new ModelPatterns(["iris.v1", "a+*", "[ab]"]);
  t.true(patterns.allows("iris.v1"));
  t.false(patterns.allows("irisxv1"));
  t.false(patterns.allows("Iris.v1"));
  t.true(patterns.allows("a+b"));
  t.false(patterns.allows("aab"));
  t.true(patterns.allows("[ab]"));
  t.false(patterns.allows("a"));
});

test("many stars on a long name take no time that grows beyond all bounds", (t) => {
  // A regular expression that goes back over every star would be at this for years.
  t.false(new ModelPatterns([`${"*a".repeat(60)}*b`]).allows("a".repeat(250)));
});

test("only a bare star is all models", (t) => {
  t.true(allModels.all);
  t.true(new ModelPatterns(["x", "*"]).all);
  t.false(new ModelPatterns(["**"]).all);
  t.true(new ModelPatterns(["**"]).allows("anything"));
});
