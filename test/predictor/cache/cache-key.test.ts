import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { cacheKey, cacheKeyLater, isLarge } from "../../../server/predictor/cache/cache-key.ts";
import { noOptions } from "../../../server/predictor/call-options.ts";
import type { TensorCall } from "../../../server/predictor/executor.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";

type Value = boolean | bigint | number | string;

function call(
  inputs: readonly Tensor[],
  outputNames: readonly string[] = ["y"],
  parameters: Readonly<Record<string, Value>> = {},
): TensorCall {
  const given = Object.entries(parameters).map(([name, value]) => [
    name,
    { parameterChoice: { value } },
  ]);
  return {
    inputs,
    outputNames,
    rows: 1,
    options: { ...noOptions, parameters: Object.fromEntries(given) },
  };
}

const bytes = (name: string, ...texts: readonly string[]): Tensor => ({
  name,
  datatype: "BYTES",
  shape: [texts.length],
  elements: texts.map((text) => Buffer.from(text)),
});

const numbers = (name: string, shape: readonly number[], ...values: readonly number[]): Tensor => ({
  name,
  datatype: "UINT8",
  shape,
  bytes: Uint8Array.from(values),
});

const int8 = (tensor: Tensor): Tensor => ({ ...tensor, datatype: "INT8" }) as Tensor;

const x = numbers("x", [2, 3], 1, 2, 3, 4, 5, 6);

test("calls that differ in anything that the model sees have different keys", (t) => {
  const calls: TensorCall[] = [
    call([x]),
    call([numbers("x", [3, 2], 1, 2, 3, 4, 5, 6)]),
    call([numbers("x", [2, 3], 1, 2, 3, 4, 5, 7)]),
    call([numbers("z", [2, 3], 1, 2, 3, 4, 5, 6)]),
    call([int8(x)]),
    call([x], ["y", "z"]),
    call([x], ["z", "y"]),
    call([x], []),
    call([x], ["y"], { a: 1n }),
    call([x], ["y"], { a: 1 }),
    call([x], ["y"], { a: "1" }),
    call([x], ["y"], { a: true }),
    call([x], ["y"], { a: "true" }),
    call([x], ["y"], { a: 0 }),
    call([x], ["y"], { a: -0 }),
    call([x], ["y"], { b: 1n }),
    call([x], ["y"], { a: 1n, b: 1n }),
    call([bytes("x", "ab", "c")]),
    call([bytes("x", "a", "bc")]),
    call([bytes("x", "abc", "")]),
    call([bytes("x", "abc")]),
    call([bytes("x")]),
    call([]),
    call([numbers("a", [1], 1), numbers("b", [1], 2)]),
    call([numbers("a", [1], 2), numbers("b", [1], 1)]),
    call([numbers("a", [2], 1, 2), numbers("b", [0])]),
  ];
  const keys = calls.map((each) => cacheKey(each, ""));
  t.is(new Set(keys).size, calls.length);
  t.not(cacheKey(calls[0]!, "1"), keys[0]);
});

test("equal calls have the same key, whatever they say of their queue and answer", (t) => {
  const y = numbers("y", [1], 9);
  const view = Uint8Array.of(0, 0, 1, 2, 3, 4, 5, 6).subarray(2);
  const key = cacheKey(call([x, y], ["o"], { a: 1n, b: "2" }), "id");
  t.is(cacheKey(call([y, { ...x, bytes: view } as Tensor], ["o"], { b: "2", a: 1n }), "id"), key);
  const reserved = {
    priority: 3n,
    timeout: 500n,
    binary_data_output: true,
    triton_enable_empty_final_response: true,
  };
  t.is(cacheKey(call([x, y], ["o"], { ...reserved, a: 1n, b: "2" }), "id"), key);
});

/** The digest as the documentation tells it, over one buffer. */
function byHand({ outputNames }: TensorCall, inputs: readonly Tensor[], identity: string): string {
  const prefixed = (part: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(part.byteLength);
    return Buffer.concat([length, part]);
  };
  const head = JSON.stringify([
    identity,
    inputs.map((input) => [
      input.name,
      input.datatype,
      input.shape,
      input.bytes?.byteLength ?? input.elements?.length,
    ]),
    outputNames,
    [],
  ]);
  const parts = inputs.map(({ bytes: raw, elements = [] }) =>
    raw ? Buffer.from(raw) : Buffer.concat(elements.map(prefixed)),
  );
  const all = Buffer.concat([prefixed(Buffer.from(head)), ...parts]);
  return createHash("sha256").update(all).digest("base64url");
}

test("the key of a large call is the same, with turns of the event loop in between", async (t) => {
  const mib = 1024 * 1024;
  const large = new Uint8Array(3 * mib + 5).map((_, index) => index * 7);
  const elements = Array.from({ length: 5 }, (_, index) => large.subarray(0, index * 400_000));
  const small = Array.from({ length: 5000 }, (_, index) => large.subarray(0, index % 9));
  const inputs: Tensor[] = [
    { name: "a", datatype: "UINT8", shape: [large.length], bytes: large },
    { name: "b", datatype: "BYTES", shape: [5], elements },
    { name: "c", datatype: "BYTES", shape: [5000], elements: small },
  ];
  const made = call(inputs);
  t.true(isLarge(made));
  t.false(isLarge(call([numbers("a", [3], 1, 2, 3)])));
  let turns = 0;
  let done = false;
  const count = (): void => {
    turns++;
    if (!done) setImmediate(count);
  };
  setImmediate(count);
  const key = await cacheKeyLater(made, "i");
  done = true;
  t.is(key, byHand(made, inputs, "i"));
  t.is(key, cacheKey(made, "i"));
  // 3 MiB and 4 MB: no more than 1 MiB at a time.
  t.true(turns >= 6, `${turns} turns`);
});

test("small and large calls are hashed alike", (t) => {
  const size = fc.oneof(fc.nat({ max: 100 }), fc.integer({ min: 16_000, max: 17_000 }));
  fc.assert(
    fc.property(size, fc.array(fc.string(), { maxLength: 5 }), fc.string(), (length, texts, id) => {
      const raw = new Uint8Array(length).map((_, index) => index);
      const inputs = [numbers("a", [length], ...raw), bytes("b", ...texts)];
      const made = call(inputs, ["y"]);
      return cacheKey(made, id) === byHand(made, inputs, id);
    }),
  );
  t.pass();
});
