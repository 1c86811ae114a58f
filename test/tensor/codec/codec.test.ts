import { type DescField, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import test from "ava";
import fc from "fast-check";
import * as serviceCodec from "../../../gen/inference/grpc_service_codec.ts";
import { file_inference_grpc_service as serviceFile } from "../../../gen/inference/grpc_service_pb.ts";
import * as configCodec from "../../../gen/inference/model_config_codec.ts";
import { file_inference_model_config as configFile } from "../../../gen/inference/model_config_pb.ts";
import { MalformedMessageError } from "../../../server/tensor/codec/malformed-message-error.ts";
import { messageOf } from "./message-arbitrary.ts";

// Every generated codec against protobuf-es, on the same bytes.

interface Codec {
  readonly desc: DescMessage;
  decode(bytes: Uint8Array): Record<string, unknown>;
  encode(message: unknown): Uint8Array;
  encodeParts(message: unknown): Uint8Array[];
  sizeOf(message: unknown): number;
}

const codecs = [
  ...codecsOf(serviceFile.messages, serviceCodec),
  ...codecsOf(configFile.messages, configCodec),
];

function codecsOf(messages: readonly DescMessage[], module: object): Codec[] {
  const functions = module as Record<string, (...given: unknown[]) => never>;
  return messages.flatMap((desc) => {
    if (desc.proto.options?.mapEntry) return [];
    const name = nameOf(desc);
    const codec: Codec = {
      desc,
      decode: (bytes) => functions[`decode${name}`]!(bytes),
      encode: (message) => functions[`encode${name}`]!(message),
      encodeParts: (message) => functions[`encode${name}Parts`]!(message),
      sizeOf: (message) => functions[`sizeOf${name}`]!(message),
    };
    return [codec, ...codecsOf(desc.nestedMessages, module)];
  });
}

function nameOf(desc: DescMessage): string {
  return desc.parent ? `${nameOf(desc.parent)}_${desc.name}` : desc.name;
}

/** What a decoded message says, in values that do not depend on who decoded it. */
function plain(desc: DescMessage, message: unknown): unknown {
  const given = message as Record<string, unknown>;
  return Object.fromEntries(
    desc.members.map((member) => {
      const value = given[member.localName];
      if (member.kind === "oneof") {
        const one = value as { case?: string; value?: unknown };
        const field = member.fields.find(({ localName }) => localName === one.case);
        return [member.localName, field ? [one.case, plainSingle(field, one.value)] : undefined];
      }
      if (member.fieldKind === "list") {
        return [
          member.localName,
          Array.from(value as ArrayLike<unknown>, (item) => plainSingle(member, item)),
        ];
      }
      if (member.fieldKind === "map") {
        return [
          member.localName,
          Object.entries(value as object).map(([key, item]) => [key, plainSingle(member, item)]),
        ];
      }
      return [member.localName, value === undefined ? undefined : plainSingle(member, value)];
    }),
  );
}

function plainSingle(field: DescField, value: unknown): unknown {
  if (field.message) return plain(field.message, value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "boolean") return Number(value);
  return value;
}

test("there is a codec of every message", (t) => {
  t.true(codecs.length > 60, `${codecs.length}`);
});

for (const codec of codecs) {
  const { desc } = codec;
  const messages = messageOf(desc);

  test(`${desc.typeName}: decodes what protobuf-es encodes`, (t) => {
    fc.assert(
      fc.property(messages, fc.integer({ min: 0, max: 9 }), (message, offset) => {
        const bytes = shifted(toBinary(desc, message), offset);
        t.deepEqual(plain(desc, codec.decode(bytes)), plain(desc, fromBinary(desc, bytes)));
      }),
      { numRuns: 40 },
    );
  });

  test(`${desc.typeName}: encodes the bytes of protobuf-es, of its messages and of its own`, (t) => {
    fc.assert(
      fc.property(messages, (message) => {
        const expected = Buffer.from(toBinary(desc, message));
        t.is(codec.sizeOf(message), expected.length);
        t.true(expected.equals(codec.encode(message)));
        const own = codec.decode(expected);
        t.true(expected.equals(codec.encode(own)));
        t.true(expected.equals(Buffer.concat(codec.encodeParts(own))));
      }),
      { numRuns: 40 },
    );
  });

  test(`${desc.typeName}: takes fields in any order and number, unpacked, and unknown ones`, (t) => {
    fc.assert(
      fc.property(
        messages,
        messages,
        fc.array(fc.nat(), { maxLength: 40 }),
        unknownFields,
        (first, second, order, unknown) => {
          // Two messages one after the other are one that is merged.
          const records = [
            ...recordsOf(desc, toBinary(desc, first)),
            ...recordsOf(desc, toBinary(desc, second)),
            ...unknown,
          ];
          for (const [index, target] of order.entries()) {
            if (records.length === 0) break;
            const [moved] = records.splice(index % records.length, 1);
            records.splice(target % (records.length + 1), 0, moved!);
          }
          const bytes = Buffer.concat(records);
          t.deepEqual(plain(desc, codec.decode(bytes)), plain(desc, fromBinary(desc, bytes)));
        },
      ),
      { numRuns: 40 },
    );
  });

  test(`${desc.typeName}: of cut and changed bytes it takes what protobuf-es takes`, (t) => {
    fc.assert(
      fc.property(
        messages,
        fc.nat(),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
        (message, cut, changes) => {
          let bytes = Buffer.from(toBinary(desc, message));
          for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
          if (cut % 2 === 0) bytes = bytes.subarray(0, cut % (bytes.length + 1));
          let ours: unknown;
          try {
            ours = plain(desc, codec.decode(bytes));
          } catch (error) {
            t.true(error instanceof MalformedMessageError, String(error));
            return;
          }
          // What is taken here is taken there, with the same values.
          if (!hasWrongWireType(desc, bytes)) {
            t.deepEqual(ours, plain(desc, fromBinary(desc, bytes)));
          }
        },
      ),
      { numRuns: 60 },
    );
  });
}

/** A copy whose first byte has another place in memory, as in a message within a chunk of a socket. */
function shifted(bytes: Uint8Array, offset: number): Uint8Array {
  const larger = new Uint8Array(bytes.length + offset);
  larger.set(bytes, offset);
  return larger.subarray(offset);
}

const unknownFields = fc.array(
  fc
    .tuple(fc.integer({ min: 900, max: 1000 }), fc.constantFrom(0, 1, 2, 3, 5), fc.nat())
    .map(([number, wire, value]) => {
      const writer = new BinaryWriter().tag(number, wire);
      if (wire === WireType.Varint) writer.uint32(value);
      else if (wire === WireType.Bit64) writer.fixed64(BigInt(value));
      else if (wire === WireType.LengthDelimited) writer.string(String(value));
      else if (wire === WireType.Bit32) writer.fixed32(value);
      else writer.tag(7, WireType.Varint).uint32(value).tag(number, WireType.EndGroup);
      return writer.finish();
    }),
  { maxLength: 3 },
);

/** The records of a message; packed fields become one record an element, every other time. */
function recordsOf(desc: DescMessage, bytes: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (const { field, wire, start, from, end } of walk(desc, bytes)) {
    const packed = field?.fieldKind === "list" && field.packed && wire === WireType.LengthDelimited;
    const width = field?.scalar === undefined ? 0 : widthOf(field);
    if (packed && width > 0 && records.length % 2 === 0) {
      for (let at = from; at < end; at += width) {
        const tag = new BinaryWriter()
          .tag(field.number, width === 4 ? WireType.Bit32 : WireType.Bit64)
          .finish();
        records.push(Buffer.concat([tag, bytes.subarray(at, at + width)]));
      }
    } else records.push(bytes.subarray(start, end));
  }
  return records;
}

function widthOf(field: DescField): number {
  // FLOAT, FIXED32, SFIXED32; DOUBLE, FIXED64, SFIXED64.
  if ([2, 7, 15].includes(field.scalar!)) return 4;
  return [1, 6, 16].includes(field.scalar!) ? 8 : 0;
}

interface WireRecord {
  readonly field: DescField | undefined;
  readonly wire: number;
  readonly start: number;
  /** Where the value begins; of one with a length after that. */
  readonly from: number;
  readonly end: number;
}

/** The records of a message as the encoding specification says. Stops at what is malformed. */
function* walk(desc: DescMessage, bytes: Uint8Array): Generator<WireRecord> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const wire = tag % 8;
    let from = at;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = varint();
      from = at;
      at += length;
    } else return;
    if (!(at <= bytes.length)) return;
    const field = desc.fields.find(({ number }) => number === Math.floor(tag / 8));
    yield { field, wire, start, from, end: at };
  }
}

/**
 * Whether a known field has a wire type that is not its own. The specification says to take it for an
 * unknown field, which we do; protobuf-es reads on with the type that it expects.
 */
function hasWrongWireType(desc: DescMessage, bytes: Uint8Array): boolean {
  let seen = 0;
  for (const { field, wire, from, end } of walk(desc, bytes)) {
    seen = end;
    if (!field) continue;
    if (field.fieldKind === "map") {
      if (wire !== WireType.LengthDelimited || mapEntryIsOdd(field, bytes.subarray(from, end)))
        return true;
      continue;
    }
    const own = field.message ? WireType.LengthDelimited : wireOf(field);
    const packable = field.fieldKind === "list" && own !== WireType.LengthDelimited;
    if (wire !== own && !(packable && wire === WireType.LengthDelimited)) return true;
    if (field.message && hasWrongWireType(field.message, bytes.subarray(from, end))) return true;
  }
  // Groups are not walked.
  return seen < bytes.length;
}

function mapEntryIsOdd(field: DescField & { fieldKind: "map" }, bytes: Uint8Array): boolean {
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at]!;
    if (tag !== 10 && tag !== (field.message ? 18 : 16 + wireOf(field))) return true;
    const length = tag % 8 === 2 ? bytes[at + 1] : undefined;
    if (length === undefined || length >= 0x80) return true;
    if (
      tag === 18 &&
      field.message &&
      hasWrongWireType(field.message, bytes.subarray(at + 2, at + 2 + length))
    )
      return true;
    at += 2 + length;
  }
  return false;
}

function wireOf(field: DescField): number {
  if (field.enum) return WireType.Varint;
  switch (field.scalar) {
    case 9:
    case 12:
      return WireType.LengthDelimited;
    case 1:
    case 6:
    case 16:
      return WireType.Bit64;
    case 2:
    case 7:
    case 15:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}

test("large values are parts of their own, and the same bytes", (t) => {
  const message = {
    modelName: "m",
    outputs: [{ name: "y", datatype: "UINT8", shape: [20_000n] }],
    rawOutputContents: [new Uint8Array(20_000).fill(7), new Uint8Array(3)],
  };
  const parts = serviceCodec.encodeModelInferResponseParts(message);
  t.is(parts.length, 3);
  t.is(parts[1], message.rawOutputContents[0]);
  t.deepEqual(Buffer.concat(parts), Buffer.from(serviceCodec.encodeModelInferResponse(message)));
});

test("raw contents are views, and packed numbers are typed arrays", (t) => {
  const bytes = serviceCodec.encodeModelInferRequest({
    inputs: [{ name: "x", shape: [1n, 2n], contents: { fp32Contents: [1.5, -2] } }],
    rawInputContents: [Uint8Array.of(1, 2, 3)],
  });
  const { inputs, rawInputContents } = serviceCodec.decodeModelInferRequest(bytes);
  t.is(rawInputContents[0]!.buffer, bytes.buffer);
  t.deepEqual(inputs[0]!.contents!.fp32Contents, Float32Array.of(1.5, -2));
  t.deepEqual(inputs[0]!.shape, BigInt64Array.of(1n, 2n));
});

// Examples of https://protobuf.dev/programming-guides/encoding/, for fields of ours.
test("the examples of the specification", (t) => {
  // "testing" in field 2 is 12 07 74 65 73 74 69 6e 67, here the model version.
  const version = Buffer.from("120774657374696e67", "hex");
  t.is(serviceCodec.decodeModelInferRequest(version).modelVersion, "testing");
  t.deepEqual(
    Buffer.from(serviceCodec.encodeModelInferRequest({ modelVersion: "testing" })),
    version,
  );
  // 150 is 96 01; -2 takes ten bytes; packed 3, 270, 86942 are 03 8e 02 9e a7 05.
  const shape = Buffer.from("1a06038e029ea705", "hex");
  const tensor = serviceCodec.decodeModelInferRequest_InferInputTensor(shape);
  t.deepEqual(tensor.shape, BigInt64Array.of(3n, 270n, 86942n));
  t.deepEqual(
    Buffer.from(serviceCodec.encodeModelInferRequest_InferInputTensor({ shape: [-2n] })),
    Buffer.from("1a0afeffffffffffffffff01", "hex"),
  );
});

test("malformed bytes are refused with the place", (t) => {
  const error = t.throws(() => serviceCodec.decodeModelInferRequest(Uint8Array.of(0x0a, 5, 1)), {
    instanceOf: MalformedMessageError,
  });
  t.regex(error!.message, /ends too early at byte 2/);
  t.throws(() => serviceCodec.decodeModelInferRequest(Uint8Array.of(0x0a, 2, 0xc3, 0x28)), {
    instanceOf: MalformedMessageError,
    message: /not UTF-8/,
  });
});
