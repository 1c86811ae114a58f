import test from "ava";
import fc from "fast-check";
import { StopStrings } from "../../server/generation/stop-strings.ts";

/** The text up to the stop string that ends first, the longest of those; looks at every place. */
function naive(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const met = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (met.length > 0) {
      const longest = Math.max(...met.map(({ length }) => length));
      return { text: text.slice(0, end - longest), stopped: true };
    }
  }
  return { text, stopped: false };
}

function inPieces(pieces: readonly string[], stops: readonly string[]) {
  const finder = new StopStrings(stops);
  const given: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = finder.push(piece);
    given.push(text);
    if (stopped) return { given, text: given.join(""), stopped };
  }
  given.push(finder.end());
  return { given, text: given.join(""), stopped: false };
}

test("wherever pieces end, the text is cut where the first stop string begins", (t) => {
  // Few letters, so that stop strings begin again within themselves.
  const word = (max: number) =>
    fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: max });
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 4 }), {
        maxLength: 12,
      }),
      fc.array(word(5), { maxLength: 4 }),
      (pieces, stops) => {
        const { text, stopped } = inPieces(pieces, stops);
        t.deepEqual({ text, stopped }, naive(pieces.join(""), stops));
      },
    ),
    { numRuns: 2000 },
  );
});

test("no part of a stop string is given out, and what is none is not held longer than it may be one", (t) => {
  const { given } = inPieces(["ab", "aba", "x", "ab", "ac"], ["abac"]);
  t.deepEqual(given, ["", "ab", "abax", "", ""]);
});

test("without stop strings nothing is held", (t) => {
  t.deepEqual(inPieces(["a", "", "b"], []).given, ["a", "", "b", ""]);
});
