import type { DescField } from "@bufbuild/protobuf";
import {
  messageOf,
  nameOf,
  type ScalarCode,
  scalarCode,
  scalarOf,
  tagOf,
  tagSize,
  wireType,
} from "./field-type.ts";
import { isRepeatedNumber } from "./generate-read.ts";
import type { LineWriter } from "./line-writer.ts";

/** Writes the statements that add the size of a field to `n`. */
export function sizeStatements(out: LineWriter, field: DescField): void {
  eachValue(out, field, {
    scalar: (field, code, value) => `n += ${tagSize(field.number)} + ${sizeOf(code, value)};`,
    message: (field, name, value) =>
      `{ const i = s.reserve(); const z = size${name}(${value}, s); s.list[i] = z; n += ${tagSize(field.number)} + sizeOfVarint(z) + z; }`,
    packed: (field, code, values) => {
      const size = code.width
        ? `const z = ${values}.length * ${code.width};`
        : `let z = 0; for (let i = 0; i < ${values}.length; i++) z += ${code.sizeOf}(${values}[i]!);`;
      return `{ ${size} s.add(z); n += ${tagSize(field.number)} + sizeOfVarint(z) + z; }`;
    },
    entry: (field, key, code, name, entry) => {
      const value = code
        ? `const v = 1 + ${sizeOf(code, `${entry.value}`)};`
        : `const j = s.reserve(); const zv = size${name}(${entry.value}, s); s.list[j] = zv; const v = 1 + sizeOfVarint(zv) + zv;`;
      return `{ const i = s.reserve(); const k = 1 + ${sizeOf(key, entry.key)}; ${value} const z = k + v; s.list[i] = z; n += ${tagSize(field.number)} + sizeOfVarint(z) + z; }`;
    },
  });
}

/** Writes the statements that write a field. */
export function writeStatements(out: LineWriter, field: DescField): void {
  eachValue(out, field, {
    scalar: (field, code, value) =>
      `w.uint32(${tagOf(field.number, code.wire)}); w.${code.write}(${value});`,
    message: (field, name, value) =>
      `w.uint32(${tagOf(field.number, wireType.len)}); w.uint32(w.nextSize()); write${name}(w, ${value});`,
    packed: (field, code, values) => {
      const head = `w.uint32(${tagOf(field.number, wireType.len)}); w.uint32(w.nextSize());`;
      if (code.width && code.width > 1) {
        const type = code.type;
        return `${head} w.fixedElements(${values}, ${code.width}, (o, x) => o.${code.write}(x as ${type}), ${values} instanceof ${code.array});`;
      }
      return `${head} for (let i = 0; i < ${values}.length; i++) w.${code.write}(${values}[i]!);`;
    },
    entry: (field, key, code, name, entry) => {
      const value = code
        ? `w.uint32(${tagOf(2, code.wire)}); w.${code.write}(${entry.value});`
        : `w.uint32(${tagOf(2, wireType.len)}); w.uint32(w.nextSize()); write${name}(w, ${entry.value});`;
      return `w.uint32(${tagOf(field.number, wireType.len)}); w.uint32(w.nextSize()); w.uint32(${tagOf(1, key.wire)}); w.${key.write}(${entry.key}); ${value}`;
    },
  });
}

/** What is done with the values of a field. */
interface ValueCode {
  scalar(field: DescField, code: ScalarCode, value: string): string;
  message(field: DescField, name: string, value: string): string;
  packed(field: DescField, code: ScalarCode, values: string): string;
  entry(
    field: DescField,
    key: ScalarCode,
    code: ScalarCode | undefined,
    name: string | undefined,
    entry: { readonly key: string; readonly value: string },
  ): string;
}

/** Both passes meet the values in the same order, and leave out the same ones. */
function eachValue(out: LineWriter, member: DescField, code: ValueCode): void {
  if (member.oneof) {
    const one = `m.${member.oneof.localName}`;
    const statements = single(member, code, "v");
    const value = /\bv\b/.test(statements) ? ` const v = ${one}.value;` : "";
    out.line(
      `  if (${one} !== undefined && ${one}.case === "${member.localName}") {${value} ${statements} }`,
    );
    return;
  }
  const value = `m.${member.localName}`;
  const scalar = scalarOf(member);
  switch (member.fieldKind) {
    case "list":
      if (isRepeatedNumber(member)) {
        const list = `const l = ${value};`;
        const body = code.packed(member, scalarCode(scalar!), "l");
        if (member.packed) {
          out.line(`  if (${value} !== undefined && ${value}.length > 0) { ${list} ${body} }`);
          return;
        }
      }
      out.line(
        `  if (${value} !== undefined) for (let e = 0; e < ${value}.length; e++) { const v = ${value}[e]!; ${single(member, code, "v")} }`,
      );
      return;
    case "map": {
      const key = scalarCode(member.mapKey);
      const keyText =
        key.type === "string"
          ? "k0"
          : key.type === "boolean"
            ? 'k0 === "true"'
            : key.type === "bigint"
              ? "BigInt(k0)"
              : "Number(k0)";
      const entry = code.entry(
        member,
        key,
        scalar === undefined ? undefined : scalarCode(scalar),
        scalar === undefined ? nameOf(messageOf(member)) : undefined,
        { key: keyText, value: "v0" },
      );
      out.line(
        `  if (${value} !== undefined) for (const k0 of Object.keys(${value})) { const v0 = ${value}[k0]!; ${entry} }`,
      );
      return;
    }
    case "message":
      out.line(
        `  if (${value} !== undefined) { const v = ${value}; ${single(member, code, "v")} }`,
      );
      return;
    default:
      out.line(
        `  { const v = ${value}; if (v !== undefined${isDefault(member)}) { ${single(member, code, "v")} } }`,
      );
  }
}

function single(field: DescField, code: ValueCode, value: string): string {
  const scalar = scalarOf(field);
  return scalar === undefined
    ? code.message(field, nameOf(messageOf(field)), value)
    : code.scalar(field, scalarCode(scalar), value);
}

/** Condition under which a scalar without presence is left out. */
function isDefault(field: DescField): string {
  if (field.presence === 1 || field.presence === 3) return "";
  const { type, zero } = scalarCode(scalarOf(field)!);
  if (type === "Uint8Array") return " && v.length > 0";
  // Of floats only +0 is the default.
  if (type === "number") return " && !Object.is(v, 0)";
  return ` && v !== ${zero}`;
}

function sizeOf(code: ScalarCode, value: string): string {
  if (code.type === "string") return `s.string(${value})`;
  if (code.type === "Uint8Array") return `s.byteString(${value})`;
  return code.width ? String(code.width) : `${code.sizeOf}(${value})`;
}
