import test from "ava";
import fc from "fast-check";
import { checkRegionName, objectName } from "../../../server/predictor/shared-memory/names.ts";

for (const key of ["input", "/input", "a..b", "/-", "ä", "x".repeat(255), "/sp ace"]) {
  test(`${JSON.stringify(key.slice(0, 20))} is a key`, (t) => {
    t.is(objectName(key), key.replace("/", ""));
  });
}

const refused = [
  "",
  "/",
  "//input",
  ".",
  "..",
  "/..",
  "/.",
  "../etc/passwd",
  "/../etc/passwd",
  "a/b",
  "a/",
  "a\0b",
  "a\nb",
  "\u007f",
  "x".repeat(256),
  "ä".repeat(128),
];
for (const key of refused) {
  test(`${JSON.stringify(key.slice(0, 20))} (${key.length}) is no key`, (t) => {
    t.throws(() => objectName(key), { message: /expected the name of an object under \/dev\/shm/ });
  });
}

test("whatever the key is, the name of its object is one part of a path", (t) => {
  const part = fc.constantFrom("/", "..", ".", "a", "\0", "\\", " ", "é");
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      let name: string;
      try {
        name = objectName(parts.join(""));
      } catch {
        // Refused: nothing is opened.
        return true;
      }
      return !/[/\0]/.test(name) && ![".", "..", ""].includes(name);
    }),
  );
  t.pass();
});

test("a region has a name", (t) => {
  t.notThrows(() => checkRegionName("../any/thing"));
  for (const name of ["", "x".repeat(256), "a\tb"]) {
    t.throws(() => checkRegionName(name), { message: /got shared memory region/ });
  }
});
