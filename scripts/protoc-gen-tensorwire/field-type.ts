import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";

/** Wire types (https://protobuf.dev/programming-guides/encoding/#structure). */
export const wireType = { varint: 0, i64: 1, len: 2, i32: 5 } as const;

/** How values of a scalar type are read and written. */
export interface ScalarCode {
  /** TypeScript type of one value. */
  readonly type: string;
  /** Default in the code. */
  readonly zero: string;
  readonly wire: number;
  /** Method of the reader and of the writer. */
  readonly read: string;
  readonly write: string;
  /** Bytes of a value of fixed width. */
  readonly width?: 1 | 4 | 8;
  /** Function that gives the bytes of a value, if the width is not fixed. */
  readonly sizeOf?: string;
  /** Typed array of repeated values. */
  readonly array?: string;
  /** For varints of 64 bits: method that leaves the halves in the reader. */
  readonly halves?: string;
}

const number = { type: "number", zero: "0" } as const;
const bigint = { type: "bigint", zero: "0n" } as const;
const { varint, i64, len, i32 } = wireType;

const scalars: Readonly<Record<ScalarType, ScalarCode>> = {
  [ScalarType.DOUBLE]: {
    ...number,
    wire: i64,
    read: "double",
    write: "double",
    width: 8,
    array: "Float64Array",
  },
  [ScalarType.FLOAT]: {
    ...number,
    wire: i32,
    read: "float",
    write: "float",
    width: 4,
    array: "Float32Array",
  },
  [ScalarType.INT64]: {
    ...bigint,
    wire: varint,
    read: "int64",
    write: "int64",
    sizeOf: "sizeOfInt64",
    array: "BigInt64Array",
    halves: "varint64",
  },
  [ScalarType.UINT64]: {
    ...bigint,
    wire: varint,
    read: "uint64",
    write: "int64",
    sizeOf: "sizeOfInt64",
    array: "BigUint64Array",
    halves: "varint64",
  },
  [ScalarType.INT32]: {
    ...number,
    wire: varint,
    read: "int32",
    write: "int32",
    sizeOf: "sizeOfInt32",
    array: "Int32Array",
  },
  [ScalarType.FIXED64]: {
    ...bigint,
    wire: i64,
    read: "fixed64",
    write: "fixed64",
    width: 8,
    array: "BigUint64Array",
  },
  [ScalarType.FIXED32]: {
    ...number,
    wire: i32,
    read: "fixed32",
    write: "fixed32",
    width: 4,
    array: "Uint32Array",
  },
  [ScalarType.BOOL]: {
    type: "boolean",
    zero: "false",
    wire: varint,
    read: "bool",
    write: "bool",
    width: 1,
    array: "Uint8Array",
  },
  [ScalarType.STRING]: { type: "string", zero: '""', wire: len, read: "string", write: "string" },
  [ScalarType.BYTES]: {
    type: "Uint8Array",
    zero: "noBytes",
    wire: len,
    read: "byteString",
    write: "byteString",
  },
  [ScalarType.UINT32]: {
    ...number,
    wire: varint,
    read: "uint32",
    write: "uint32",
    sizeOf: "sizeOfVarint",
    array: "Uint32Array",
  },
  [ScalarType.SFIXED32]: {
    ...number,
    wire: i32,
    read: "sfixed32",
    write: "fixed32",
    width: 4,
    array: "Int32Array",
  },
  [ScalarType.SFIXED64]: {
    ...bigint,
    wire: i64,
    read: "sfixed64",
    write: "fixed64",
    width: 8,
    array: "BigInt64Array",
  },
  [ScalarType.SINT32]: {
    ...number,
    wire: varint,
    read: "sint32",
    write: "sint32",
    sizeOf: "sizeOfSint32",
    array: "Int32Array",
  },
  [ScalarType.SINT64]: {
    ...bigint,
    wire: varint,
    read: "sint64",
    write: "sint64",
    sizeOf: "sizeOfSint64",
    array: "BigInt64Array",
    halves: "zigzag64",
  },
};

/** Enums are their numbers. */
export function scalarCode(type: ScalarType | "enum"): ScalarCode {
  return scalars[type === "enum" ? ScalarType.INT32 : type];
}

/** Scalar type of a field that holds scalars or enums; `undefined` for messages. */
export function scalarOf(field: DescField): ScalarType | "enum" | undefined {
  switch (field.fieldKind) {
    case "scalar":
      return field.scalar;
    case "enum":
      return "enum";
    case "list":
      return field.listKind === "message"
        ? undefined
        : field.listKind === "enum"
          ? "enum"
          : field.scalar;
    case "map":
      return field.mapKind === "message"
        ? undefined
        : field.mapKind === "enum"
          ? "enum"
          : field.scalar;
    case "message":
      return undefined;
  }
}

/** Message type of a field. */
export function messageOf(field: DescField): DescMessage {
  if (!field.message) throw new Error(`${String(field)} is no message`);
  return field.message;
}

/** Name of a message in the code: nested ones with the outer before, as protoc-gen-es names them. */
export function nameOf(message: DescMessage): string {
  return message.parent ? `${nameOf(message.parent)}_${message.name}` : message.name;
}

/** Key of a field on the wire. */
export function tagOf(number: number, wire: number): number {
  return ((number << 3) | wire) >>> 0;
}

/** Bytes of a key. */
export function tagSize(number: number): number {
  let rest = (number << 3) >>> 0;
  let size = 1;
  while (rest >= 0x80) {
    rest >>>= 7;
    size++;
  }
  return size;
}
