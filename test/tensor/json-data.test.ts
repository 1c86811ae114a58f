import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { type Datatype, datatypes, elementSize } from "../../server/tensor/datatype.ts";
import {
  decodeJsonData,
  decodeJsonRaw,
  jsonChunks,
  jsonElements,
  parseLosslessJson,
} from "../../server/tensor/json-data.ts";
import type { Tensor } from "../../server/tensor/tensor.ts";

const isNaNPattern: Partial<Record<Datatype, (view: DataView, at: number) => boolean>> = {
  FP16: (view, at) => (view.getUint16(at, true) & 0x7fff) > 0x7c00,
  BF16: (view, at) => (view.getUint16(at, true) & 0x7fff) > 0x7f80,
  FP32: (view, at) => Number.isNaN(view.getFloat32(at, true)),
  FP64: (view, at) => Number.isNaN(view.getFloat64(at, true)),
};

/** Tensors of any datatype and bit pattern, but for the patterns of NaN, which JSON has one of. */
const tensors: fc.Arbitrary<Tensor> = fc.constantFrom(...datatypes).chain((datatype) =>
  fc.array(fc.nat(3), { maxLength: 3 }).chain((shape): fc.Arbitrary<Tensor> => {
    const count = shape.reduce((a, b) => a * b, 1);
    const base = { name: "x", shape };
    if (datatype === "BYTES") {
      return fc
        .array(fc.string({ unit: "binary" }), { minLength: count, maxLength: count })
        .map((texts) => ({
          ...base,
          datatype,
          elements: texts.map((text) => new TextEncoder().encode(text)),
        }));
    }
    const size = elementSize(datatype);
    return fc
      .uint8Array({
        minLength: count * size,
        maxLength: count * size,
        max: datatype === "BOOL" ? 1 : 255,
      })
      .map((bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        for (let at = 0; at < bytes.length; at += size)
          if (isNaNPattern[datatype]?.(view, at)) bytes.fill(0, at, at + size);
        return { ...base, datatype, bytes };
      });
  }),
);

function nest(elements: readonly string[], shape: readonly number[]): string {
  if (shape.length === 0) return elements[0]!;
  const [length, ...rest] = shape as [number, ...number[]];
  const width = elements.length / Math.max(length, 1);
  return `[${Array.from({ length }, (_, index) => nest(elements.slice(index * width, (index + 1) * width), rest)).join(",")}]`;
}

test("elements written as JSON are valid JSON and read back bit by bit, flat and nested", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(tensors, (tensor) => {
        const texts = jsonElements(tensor);
        return [`[${texts.join(",")}]`, nest(texts, tensor.shape)].every((json) => {
          const decoded = decodeJsonData(
            "x",
            tensor.datatype,
            tensor.shape,
            parseLosslessJson(json),
          );
          return tensor.elements
            ? decoded.elements!.every((element, index) =>
                Buffer.from(element).equals(Buffer.from(tensor.elements![index]!)),
              )
            : Buffer.from(decoded.bytes!).equals(Buffer.from(tensor.bytes));
        });
      }),
      { numRuns: 2000 },
    ),
  );
});

test("finite floats are written as JSON.stringify writes them", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc
          .double({ noNaN: true, noDefaultInfinity: true })
          .filter((value) => !Object.is(value, -0)),
        (value) => {
          const tensor: Tensor = {
            name: "x",
            datatype: "FP64",
            shape: [1],
            bytes: new Uint8Array(Float64Array.of(value).buffer),
          };
          return jsonElements(tensor)[0] === JSON.stringify(value);
        },
      ),
    ),
  );
});

function toDoubles(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}

test("parseLosslessJson agrees with JSON.parse but for integers beyond 2^53", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.json(),
        (json) =>
          JSON.stringify(parseLosslessJson(json), toDoubles) === JSON.stringify(JSON.parse(json)),
      ),
    ),
  );
  t.deepEqual(
    parseLosslessJson(
      '[9007199254740993, -18446744073709551615, 1e30, "9007199254740993", 1234567890123456.5]',
    ),
    [9007199254740993n, -18446744073709551615n, 1e30, "9007199254740993", 1234567890123456.5],
  );
});

for (const [datatype, data, reason] of [
  ["INT8", [128], "TENSOR_VALUE_INVALID"],
  ["UINT64", [-1], "TENSOR_VALUE_INVALID"],
  ["UINT64", [2n ** 64n], "TENSOR_VALUE_INVALID"],
  ["INT32", [1.5], "TENSOR_VALUE_INVALID"],
  ["INT32", ["1"], "TENSOR_VALUE_INVALID"],
  ["BOOL", [2], "TENSOR_VALUE_INVALID"],
  ["FP32", ["1"], "TENSOR_VALUE_INVALID"],
  ["FP32", [null], "TENSOR_VALUE_INVALID"],
  ["BYTES", [1], "TENSOR_VALUE_INVALID"],
  ["FP32", [1, 2], "TENSOR_ELEMENTS_MISMATCH"],
  ["FP32", [[1, 2]], "SHAPE_MISMATCH"],
  ["FP32", 1, "TENSOR_VALUE_INVALID"],
  ["FP32", {}, "TENSOR_VALUE_INVALID"],
] as const) {
  test(`decodeJsonData refuses ${typeof data === "object" ? JSON.stringify(data, (_, value) => (typeof value === "bigint" ? `${value}n` : value)) : data} as ${datatype} with ${reason}`, (t) => {
    const error = t.throws(() => decodeJsonData("x", datatype, [1], data), {
      instanceOf: TensorwireError,
    });
    t.is(error.reason, reason);
  });
}

test("a nesting unlike the shape is refused with the dimension", (t) => {
  t.throws(() => decodeJsonData("x", "FP32", [2, 2], [[1, 2], [3]]), {
    message: /1 elements at dimension 1, the shape is \[2,2\]/,
  });
  t.throws(() => decodeJsonData("x", "FP32", [2, 2], [[1, 2], 3]), { message: /dimension 1/ });
});

test("a BYTES element that is not UTF-8 cannot be written as JSON, and says what to do", (t) => {
  const tensor: Tensor = {
    name: "x",
    datatype: "BYTES",
    shape: [1],
    elements: [Uint8Array.of(0xff)],
  };
  t.throws(() => jsonElements(tensor), {
    instanceOf: TensorwireError,
    message: /ask for binary data/,
  });
});

test("long fractions are doubles, and long integers beside them keep their digits", (t) => {
  t.deepEqual(
    parseLosslessJson(
      "[0.10000000149011612,-1.2345678901234567e30,9007199254740992,-9007199254740993,1e20]",
    ),
    [0.10000000149011612, -1.2345678901234567e30, 9007199254740992n, -9007199254740993n, 1e20],
  );
  t.deepEqual(parseLosslessJson("18446744073709551615"), 18446744073709551615n);
  t.deepEqual(parseLosslessJson('{"a":{"b":[99999999999999999]}}'), {
    a: { b: [99999999999999999n] },
  });
});

test("an integer that no datatype holds stays a double", (t) => {
  t.is(parseLosslessJson("9".repeat(30)), 1e30);
});

for (const [datatype, array] of [
  ["INT64", BigInt64Array],
  ["UINT64", BigUint64Array],
] as const) {
  test(`${datatype} is read from numbers and bigints alike`, (t) => {
    const value =
      datatype === "INT64"
        ? fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)
        : fc.bigInt(0n, 2n ** 64n - 1n);
    const small = datatype === "INT64" ? fc.maxSafeInteger() : fc.maxSafeNat();
    t.notThrows(() =>
      fc.assert(
        fc.property(fc.array(fc.oneof(value, small)), (values) => {
          const raw = decodeJsonRaw("x", datatype, [values.length], values);
          const expected = array.from(values.map(BigInt));
          return Buffer.from(raw).equals(Buffer.from(expected.buffer));
        }),
      ),
    );
  });
}

for (const [datatype, data, given] of [
  ["INT64", [2n ** 63n], /element 0: got 9223372036854775808/],
  ["INT64", [0.5], /element 0: got 0.5, expected a whole number from -9223372036854775808/],
  ["UINT64", [1, -1], /element 1: got -1/],
  ["INT32", [Number.NaN], /element 0: got NaN/],
  ["INT64", [Number.POSITIVE_INFINITY], /element 0: got Infinity/],
  ["UINT8", [[1], [256]], /element 1: got 256, expected a whole number from 0 to 255, for UINT8/],
] as const) {
  test(`decodeJsonData names what is wrong with ${data.join()} as ${datatype}`, (t) => {
    const shape = Array.isArray(data[0]) ? [2, 1] : [data.length];
    t.throws(() => decodeJsonData("x", datatype, shape, data), { message: given });
  });
}

test("data nested deeper than the shape is refused, and a shape that was not sent allocates nothing", (t) => {
  t.throws(() => decodeJsonData("x", "FP32", [1, 1], [[[1]]]), { message: /nested deeper/ });
  t.throws(() => decodeJsonData("x", "FP32", [2, 1e15], [[1], [2]]), { message: /dimension 1/ });
  t.throws(() => decodeJsonData("x", "FP32", [1e15], [1]), { message: /got 1 elements/ });
});

test("chunks join to the elements, and raw contents have length prefixes", (t) => {
  const values = Int32Array.from({ length: 20_000 }, (_, index) => index - 10_000);
  const bytes = new Uint8Array(values.buffer);
  const chunks = [...jsonChunks({ name: "x", datatype: "INT32", shape: [20_000], bytes })];
  t.is(chunks.length, 3);
  t.is(chunks.join(""), Array.from(values).join(","));
  t.deepEqual(
    [...decodeJsonRaw("x", "BYTES", [2], ["é", ""])],
    [2, 0, 0, 0, 0xc3, 0xa9, 0, 0, 0, 0],
  );
});

for (const [datatype, bytes] of [
  ["FP32", Float32Array.of(-0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)],
  ["FP64", Float64Array.of(-0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)],
  ["FP16", Uint16Array.of(0x8000, 0x7e00, 0x7c00, 0xfc00)],
  ["BF16", Uint16Array.of(0x8000, 0x7fc0, 0x7f80, 0xff80)],
] as const) {
  test(`${datatype} keeps the sign of zero and writes what is no number as a string`, (t) => {
    const contents = new Uint8Array(bytes.buffer);
    const tensor: Tensor = { name: "x", datatype, shape: [4], bytes: contents };
    const text = [...jsonChunks(tensor)].join("");
    t.is(text, '-0.0,"NaN","Infinity","-Infinity"');
    const zero: Tensor = { ...tensor, shape: [1], bytes: contents.slice(0, contents.length / 4) };
    t.is([...jsonChunks(zero)].join(""), "-0.0");
    t.deepEqual(decodeJsonRaw("x", datatype, [4], parseLosslessJson(`[${text}]`)), contents);
  });
}
