import test from "ava";
import { readCallOptions } from "../../server/predictor/call-options.ts";
import type { InferParameterValue } from "../../server/rpc/infer-messages.ts";

function sequenceOf(
  value: bigint | number | string | boolean,
  flags: Readonly<Record<string, boolean>> = {},
) {
  const parameters: Record<string, InferParameterValue> = {
    sequence_id: { parameterChoice: { value } },
  };
  for (const [name, flag] of Object.entries(flags)) {
    parameters[name] = { parameterChoice: { value: flag } };
  }
  return readCallOptions(parameters).sequence;
}

test("a sequence is an integer of any type of parameter, or a text; 0 and an empty text are none", (t) => {
  const most = 2n ** 64n - 1n;
  t.like(sequenceOf(7n), { id: 7n, start: false, end: false });
  t.like(sequenceOf(most), { id: most });
  t.like(sequenceOf(3), { id: 3n });
  const flags = { sequence_start: true, sequence_end: true };
  t.like(sequenceOf("7", flags), {
    id: "7",
    start: true,
    end: true,
  });
  t.is(sequenceOf(0n, flags), undefined);
  t.is(sequenceOf("", flags), undefined);
});

test("what is no id is refused", (t) => {
  for (const value of [-1n, 1.5, 2 ** 64, Number.NaN, true, "x".repeat(129)] as const) {
    t.throws(() => sequenceOf(value), { message: /sequence_id/ }, String(value));
  }
});
