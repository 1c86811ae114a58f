import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { joinBytesElements, splitBytesElements } from "../../server/tensor/bytes-elements.ts";

test("splitBytesElements gives back what joinBytesElements joined", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (elements) => {
        const split = splitBytesElements("x", joinBytesElements(elements), elements.length);
        return (
          split.length === elements.length &&
          split.every((element, index) =>
            Buffer.from(element).equals(Buffer.from(elements[index]!)),
          )
        );
      }),
    ),
  );
});

test("joinBytesElements writes a little-endian length before each element", (t) => {
  const joined = joinBytesElements([Buffer.from("ab"), Buffer.from(""), Buffer.alloc(258)]);
  t.deepEqual([...joined.subarray(0, 14)], [2, 0, 0, 0, 97, 98, 0, 0, 0, 0, 2, 1, 0, 0]);
  t.is(joined.byteLength, 4 + 2 + 4 + 4 + 258);
});

test("splitBytesElements returns views on the contents", (t) => {
  const raw = joinBytesElements([Buffer.from("abc")]);
  t.is(splitBytesElements("x", raw, 1)[0]!.buffer, raw.buffer);
});

test("splitBytesElements refuses any other bytes with the element's number, and never throws anything else", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), fc.nat(5), (raw, count) => {
        try {
          return splitBytesElements("x", raw, count).length === count;
        } catch (error) {
          return (
            error instanceof TensorwireError &&
            error.reason === "BYTES_ELEMENT_MALFORMED" &&
            "element" in error.metadata
          );
        }
      }),
    ),
  );
});

for (const [name, raw, count, message] of [
  [
    "a length past the end",
    [9, 0, 0, 0, 1],
    1,
    /element 0: its length prefix says 9 bytes, 1 are left/,
  ],
  [
    "a length cut short",
    [1, 0, 0, 0, 7, 1, 0],
    2,
    /element 1: its 4-byte length is cut short, 2 bytes are left/,
  ],
  [
    "more elements than the shape",
    [0, 0, 0, 0, 0, 0, 0, 0],
    1,
    /element 1: the shape holds 1 elements, and 4 bytes are left/,
  ],
  [
    "fewer elements than the shape",
    [0, 0, 0, 0],
    2,
    /element 1: the contents end before it, the shape holds 2 elements/,
  ],
] as const) {
  test(`splitBytesElements refuses ${name}`, (t) => {
    t.throws(() => splitBytesElements("x", Uint8Array.from(raw), count), {
      instanceOf: TensorwireError,
      message,
    });
  });
}
