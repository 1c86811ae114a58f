import { readFileSync } from "node:fs";
import test from "ava";
import { readNpy } from "../../server/cli/npy.ts";
import type { FixedSizeDatatype } from "../../server/tensor/datatype.ts";
import { type TypedArray, viewTypedArray } from "../../server/tensor/typed-array.ts";

function fixture(name: string): Buffer {
  return readFileSync(new URL(`../fixtures/npy/${name}.npy`, import.meta.url));
}

function elements(name: string): { datatype: string; shape: readonly number[]; data: unknown[] } {
  const array = readNpy(fixture(name));
  const { datatype, shape } = array;
  const data: (number | bigint | string)[] =
    array.datatype === "BYTES"
      ? array.elements.map((element) => Buffer.from(element).toString())
      : Array.from<number | bigint>(
          viewTypedArray<FixedSizeDatatype>(name, array.datatype, array.bytes, shape) as Exclude<
            TypedArray,
            BigInt64Array | BigUint64Array
          >,
        );
  return { datatype, shape, data };
}

/** What numpy.save was given; make-npy.py has the same values. */
const saved = {
  bool: ["BOOL", [3], [1, 0, 1]],
  uint8: ["UINT8", [3], [0, 1, 255]],
  uint16: ["UINT16", [2], [0, 65535]],
  uint32: ["UINT32", [2], [0, 4294967295]],
  uint64: ["UINT64", [2], [0n, 18446744073709551615n]],
  int8: ["INT8", [2], [-128, 127]],
  int16: ["INT16", [2], [-32768, 32767]],
  int32: ["INT32", [2], [-2147483648, 2147483647]],
  int64: ["INT64", [2], [-9223372036854775808n, 9223372036854775807n]],
  // Bit patterns of 0.5 and -2.
  float16: ["FP16", [2], [0x3800, 0xc000]],
  float32: ["FP32", [2, 3], [1, 2, 3, 4, 5, 6.5]],
  float64: ["FP64", [2], [0.1, -1e300]],
  "big-endian-int32": ["INT32", [2], [1, -2]],
  "big-endian-float64": ["FP64", [2], [0.1, 2]],
  bytes: ["BYTES", [3], ["a", "bcd", ""]],
  text: ["BYTES", [3], ["a", "grün", "\u{1f600}"]],
  "big-endian-text": ["BYTES", [2], ["ab", "ü"]],
  scalar: ["FP32", [], [2.5]],
  empty: ["FP32", [0, 4], []],
  cube: ["INT32", [2, 3, 4], Array.from({ length: 24 }, (_, index) => index)],
  // One row is the same in both orders.
  "fortran-row": ["FP32", [1, 3], [0, 1, 2]],
  "version-1": ["INT32", [2], [1, 2]],
  "version-2": ["INT32", [2], [1, 2]],
  "version-3": ["INT32", [2], [1, 2]],
} as const;

for (const [name, [datatype, shape, data]] of Object.entries(saved)) {
  test(`${name}.npy is read as NumPy wrote it`, (t) => {
    t.deepEqual(elements(name), { datatype, shape: [...shape], data: [...data] });
  });
}

test("elements are read where the file does not begin on a boundary of their size", (t) => {
  const file = fixture("float64");
  const shifted = new Uint8Array(file.length + 1);
  shifted.set(file, 1);
  t.deepEqual(readNpy(shifted.subarray(1)), readNpy(new Uint8Array(file)));
});

const refused = {
  fortran: /Fortran order; save numpy\.ascontiguousarray/,
  structured: /structured type/,
  complex: /type <c16, which no datatype can hold/,
  dates: /type <M8\[D\], which no datatype can hold/,
  pickled: /type \|O, which no datatype can hold/,
} as const;

for (const [name, message] of Object.entries(refused)) {
  test(`${name}.npy is refused with a reason`, (t) => {
    t.throws(() => readNpy(fixture(name)), { message });
  });
}

test("what is no NumPy file is refused", (t) => {
  t.throws(() => readNpy(Buffer.from("[1,2,3]")), { message: /no NumPy file/ });
  t.throws(() => readNpy(new Uint8Array()), { message: /no NumPy file/ });
});

test("a file that is cut off anywhere is refused", (t) => {
  const file = fixture("float32");
  for (let length = 0; length < file.length; length++) {
    t.throws(() => readNpy(file.subarray(0, length)), { instanceOf: Error });
  }
});

test("a file of a later version is refused", (t) => {
  const file = Buffer.from(fixture("float32"));
  file[6] = 4;
  t.throws(() => readNpy(file), { message: /version 4; versions 1, 2 and 3/ });
});
