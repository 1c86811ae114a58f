import { elementSize, type FixedSizeDatatype } from "../tensor/datatype.ts";
import { elementCount, shapeText } from "../tensor/shape.ts";

/** An array without a name, as a file holds it. */
export type NpyArray =
  | {
      readonly datatype: FixedSizeDatatype;
      readonly shape: readonly number[];
      readonly bytes: Uint8Array;
    }
  | {
      readonly datatype: "BYTES";
      readonly shape: readonly number[];
      readonly elements: readonly Uint8Array[];
    };

const magic = "\x93NUMPY";
/** Bytes before the header: magic, version, and the header's length in 2 bytes or 4. */
const lengthOffset = 8;

/** Kind and size of a NumPy type, and the datatype of the same elements. */
const datatypes: Readonly<Record<string, FixedSizeDatatype>> = {
  b1: "BOOL",
  u1: "UINT8",
  u2: "UINT16",
  u4: "UINT32",
  u8: "UINT64",
  i1: "INT8",
  i2: "INT16",
  i4: "INT32",
  i8: "INT64",
  f2: "FP16",
  f4: "FP32",
  f8: "FP64",
};

/**
 * Reads a NumPy file of version 1, 2 or 3
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Byte strings (`S`) and
 * texts (`U`) become BYTES without the zeros that NumPy pads them with; texts as UTF-8.
 *
 * @returns an array that shares the memory of `file` where the byte order allows
 * @throws Error that says what the file has and what is taken
 */
export function readNpy(file: Uint8Array): NpyArray {
  const { descr, fortran, shape, dataOffset } = readHeader(file);
  if (fortran && shape.filter((dimension) => dimension !== 1).length > 1)
    throw new Error("the array is in Fortran order; save numpy.ascontiguousarray(array)");
  const match = /^([<>|=])([a-zA-Z])(\d+)$/.exec(descr);
  if (!match) throw new Error(`the array is of type ${descr}, which no datatype can hold`);
  const [, order, kind, digits] = match as unknown as [string, string, string, string];
  const bigEndian = order === ">";
  const count = elementCount(shape);
  if (Number.isNaN(count)) throw new Error(`the array has an impossible shape ${shapeText(shape)}`);
  const size = kind === "U" ? 4 * Number(digits) : Number(digits);
  const data = file.subarray(dataOffset);
  if (data.byteLength !== count * size) {
    throw new Error(
      `the file has ${data.byteLength} bytes of data; ${descr} of shape ${shapeText(shape)} takes ${count * size}`,
    );
  }
  if (kind === "S" || kind === "U") {
    const element = (index: number): Uint8Array => data.subarray(index * size, (index + 1) * size);
    const decode = kind === "S" ? withoutPadding : (bytes: Uint8Array) => utf8Of(bytes, bigEndian);
    const elements = Array.from({ length: count }, (_, index) => decode(element(index)));
    return { datatype: "BYTES", shape, elements };
  }
  const datatype = datatypes[kind + digits];
  if (datatype === undefined)
    throw new Error(`the array is of type ${descr}, which no datatype can hold`);
  return { datatype, shape, bytes: bigEndian ? swapped(data, elementSize(datatype)) : data };
}

interface NpyHeader {
  readonly descr: string;
  readonly fortran: boolean;
  readonly shape: readonly number[];
  readonly dataOffset: number;
}

function readHeader(file: Uint8Array): NpyHeader {
  const buffer = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (buffer.toString("latin1", 0, magic.length) !== magic || buffer.length < lengthOffset + 4)
    throw new Error("this is no NumPy file: it does not begin with \\x93NUMPY");
  const version = buffer[magic.length]!;
  if (version < 1 || version > 3)
    throw new Error(`the NumPy format is version ${version}; versions 1, 2 and 3 are read`);
  const start = lengthOffset + (version === 1 ? 2 : 4);
  const length =
    version === 1 ? buffer.readUInt16LE(lengthOffset) : buffer.readUInt32LE(lengthOffset);
  if (start + length > buffer.length) throw new Error("the header of the NumPy file is cut off");
  const text = buffer.toString(version === 3 ? "utf8" : "latin1", start, start + length);
  const descr = /'descr':\s*'([^']*)'/.exec(text)?.[1];
  const fortran = /'fortran_order':\s*(True|False)/.exec(text)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(text)?.[1];
  if (fortran === undefined || shape === undefined)
    throw new Error(`the header of the NumPy file is ${JSON.stringify(text.trim())}`);
  if (descr === undefined) throw new Error("the array has a structured type; save one field of it");
  return {
    descr,
    fortran: fortran === "True",
    shape: shape
      .split(",")
      .filter((part) => part.trim() !== "")
      .map(Number),
    dataOffset: start + length,
  };
}

function withoutPadding(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/** NumPy's texts are UTF-32. */
function utf8Of(bytes: Uint8Array, bigEndian: boolean): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let text = "";
  for (let offset = 0; offset < bytes.byteLength; offset += 4) {
    const point = view.getUint32(offset, !bigEndian);
    if (point > 0x10ffff) throw new Error(`the array holds the impossible character ${point}`);
    text += String.fromCodePoint(point);
  }
  return Buffer.from(text.replace(/\0+$/, ""));
}

function swapped(bytes: Uint8Array, size: number): Uint8Array {
  const copy = Buffer.from(bytes);
  switch (size) {
    case 2:
      return copy.swap16();
    case 4:
      return copy.swap32();
    case 8:
      return copy.swap64();
    default:
      return copy;
  }
}
