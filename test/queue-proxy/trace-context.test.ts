import test from "ava";
import fc from "fast-check";
import { isSampled } from "../../server/queue-proxy/span-sampling.ts";
import { readTraceParent, traceParentText } from "../../server/queue-proxy/trace-context.ts";

const hex = (length: number) =>
  fc
    .array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length })
    .map((digits) => digits.join(""))
    .filter((text) => !/^0+$/.test(text));

test("what is written is read again", (t) => {
  fc.assert(
    fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
      const parent = { traceId, spanId, sampled };
      t.deepEqual(readTraceParent(traceParentText(parent)), parent);
    }),
  );
});

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";
const texts: readonly (readonly [string, string, boolean | undefined])[] = [
  ["sampled", `00-${traceId}-${spanId}-01`, true],
  ["not sampled", `00-${traceId}-${spanId}-00`, false],
  ["flags that are not known", `00-${traceId}-${spanId}-ff`, true],
  ["a later version with more behind", `01-${traceId}-${spanId}-01-more`, true],
  ["this version with more behind", `00-${traceId}-${spanId}-01-more`, undefined],
  ["the version that is forbidden", `ff-${traceId}-${spanId}-01`, undefined],
  ["a trace of zeros", `00-${"0".repeat(32)}-${spanId}-01`, undefined],
  ["a span of zeros", `00-${traceId}-${"0".repeat(16)}-01`, undefined],
  ["capitals", `00-${traceId.toUpperCase()}-${spanId}-01`, undefined],
  ["nothing", "", undefined],
];
for (const [what, text, sampled] of texts) {
  test(`traceparent: ${what}`, (t) => {
    t.deepEqual(
      readTraceParent(text),
      sampled === undefined ? undefined : { traceId, spanId, sampled },
    );
  });
}

test("a rate takes its share of traces, and a higher one takes all that a lower one does", (t) => {
  const count = 4096;
  // Identifiers whose right halves are spread evenly.
  const ids = Array.from(
    { length: count },
    (_, index) => `${"a".repeat(16)}${index.toString(16).padStart(3, "0")}${"8".repeat(13)}`,
  );
  const taken = (rate: number) =>
    ids.filter((id) => isSampled({ rate, of: "rate" }, id, undefined));
  for (const rate of [0, 0.25, 0.5, 0.75, 1]) t.is(taken(rate).length, count * rate);
  const more = new Set(taken(0.5));
  t.true(taken(0.25).every((id) => more.has(id)));
});

test("what the caller decided counts, unless the rate is to", (t) => {
  for (const sampled of [true, false]) {
    const parent = { traceId, spanId, sampled };
    t.is(isSampled({ rate: 0, of: "caller" }, traceId, parent), sampled);
    t.is(isSampled({ rate: 1, of: "caller" }, traceId, parent), sampled);
    t.false(isSampled({ rate: 0, of: "rate" }, traceId, parent));
    t.true(isSampled({ rate: 1, of: "rate" }, traceId, parent));
  }
});
