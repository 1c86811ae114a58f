import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import fc from "fast-check";

const scalars: Readonly<Record<ScalarType, fc.Arbitrary<unknown>>> = {
  [ScalarType.DOUBLE]: fc.double(),
  [ScalarType.FLOAT]: fc.float(),
  [ScalarType.INT64]: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  [ScalarType.UINT64]: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  [ScalarType.INT32]: fc.integer(),
  [ScalarType.FIXED64]: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  [ScalarType.FIXED32]: fc.nat({ max: 0xffff_ffff }),
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.STRING]: fc.oneof(
    fc.string({ maxLength: 40 }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
    fc.constant("__proto__"),
  ),
  [ScalarType.BYTES]: fc.uint8Array({ maxLength: 40 }),
  [ScalarType.UINT32]: fc.nat({ max: 0xffff_ffff }),
  [ScalarType.SFIXED32]: fc.integer(),
  [ScalarType.SFIXED64]: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  [ScalarType.SINT32]: fc.integer(),
  [ScalarType.SINT64]: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
};

/** Messages of any type, with every field there or not. */
export function messageOf(desc: DescMessage, depth = 4): fc.Arbitrary<Message> {
  const members: Record<string, fc.Arbitrary<unknown>> = {};
  for (const member of desc.members) {
    const values =
      member.kind === "oneof"
        ? fc.oneof(
            ...member.fields.map((field) =>
              fc.record({ case: fc.constant(field.localName), value: single(field, depth) }),
            ),
          )
        : valuesOf(member, depth);
    if (values) members[member.localName] = values;
  }
  return fc.record(members, { requiredKeys: [] }).map((init) => create(desc, init as never));
}

function valuesOf(field: DescField, depth: number): fc.Arbitrary<unknown> | undefined {
  if (field.message && depth === 0) return undefined;
  switch (field.fieldKind) {
    case "list":
      return fc.array(single(field, depth), { maxLength: field.message ? 3 : 12 });
    case "map":
      return fc.dictionary(
        field.mapKey === ScalarType.STRING
          ? (scalars[ScalarType.STRING] as fc.Arbitrary<string>)
          : (scalars[field.mapKey] as fc.Arbitrary<number>).map(String),
        single(field, depth),
        { maxKeys: 3 },
      );
    default:
      return single(field, depth);
  }
}

function single(field: DescField, depth: number): fc.Arbitrary<unknown> {
  if (field.message) return fc.letrec(() => ({ m: messageOf(field.message!, depth - 1) })).m!;
  if (field.enum) return fc.constantFrom(...field.enum.values.map(({ number }) => number));
  return scalars[field.scalar!];
}
