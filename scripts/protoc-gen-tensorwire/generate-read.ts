import type { DescField } from "@bufbuild/protobuf";
import {
  messageOf,
  nameOf,
  type ScalarCode,
  scalarCode,
  scalarOf,
  tagOf,
  wireType,
} from "./field-type.ts";
import type { LineWriter } from "./line-writer.ts";

/** Whether a field is a list that becomes a typed array. */
export function isRepeatedNumber(field: DescField): boolean {
  const scalar = scalarOf(field);
  return (
    field.fieldKind === "list" && scalar !== undefined && scalarCode(scalar).array !== undefined
  );
}

/** Writes the cases of the decoder's switch that belong to a field. */
export function readCases(out: LineWriter, field: DescField): void {
  const scalar = scalarOf(field);
  const code = scalar === undefined ? undefined : scalarCode(scalar);
  const target = `m.${field.localName}`;
  switch (field.fieldKind) {
    case "list":
      if (isRepeatedNumber(field)) readNumbers(out, field, code!);
      else if (code) {
        begin(out, field, code.wire);
        out.line(`        ${target}.push(r.${code.read}());`);
        end(out);
      } else {
        const name = nameOf(messageOf(field));
        begin(out, field, wireType.len);
        out.line("        const outer = r.open();");
        out.line(`        ${target}.push(read${name}(r, new ${name}()));`);
        out.line("        r.close(outer);");
        end(out);
      }
      return;
    case "map":
      readEntry(out, field, code);
      return;
    default:
      readSingle(out, field, code);
  }
}

function readSingle(out: LineWriter, field: DescField, code: ScalarCode | undefined): void {
  const { oneof, localName } = field;
  // A synthetic oneof (proto3 optional) is no member of its own.
  const target = oneof ? `m.${oneof.localName}` : `m.${localName}`;
  if (code) {
    begin(out, field, code.wire);
    const value = `r.${code.read}()`;
    out.line(
      oneof
        ? `        ${target} = { case: "${localName}", value: ${value} };`
        : `        ${target} = ${value};`,
    );
    end(out);
    return;
  }
  const name = nameOf(messageOf(field));
  begin(out, field, wireType.len);
  out.line("        const outer = r.open();");
  // A message that is given twice is merged.
  if (oneof) {
    out.line(
      `        const before = ${target}.case === "${localName}" ? ${target}.value : new ${name}();`,
    );
    out.line(`        ${target} = { case: "${localName}", value: read${name}(r, before) };`);
  } else out.line(`        ${target} = read${name}(r, ${target} ?? new ${name}());`);
  out.line("        r.close(outer);");
  end(out);
}

function readNumbers(out: LineWriter, field: DescField, code: ScalarCode): void {
  const { localName } = field;
  const target = `m.${localName}`;
  const runs = `${localName}Runs`;
  const array = code.array!;
  const run =
    code.width !== undefined && code.width > 1
      ? `readFixed(r, ${array})`
      : code.halves
        ? `readVarints64(r, ${array}, (reader) => reader.${code.halves}())`
        : `readVarints(r, ${array}, (reader) => ${code.read === "bool" ? "Number(reader.bool())" : `reader.${code.read}()`})`;
  begin(out, field, wireType.len);
  out.line(`        if (${runs} === undefined && ${target}.length === 0) ${target} = ${run};`);
  out.line(`        else {`);
  out.line(`          ${runs} ??= new RepeatedNumbers(${array}, ${target});`);
  out.line(`          ${runs}.addRun(${run});`);
  out.line(`        }`);
  end(out);
  begin(out, field, code.wire);
  out.line(`        ${runs} ??= new RepeatedNumbers(${array}, ${target});`);
  const value = `r.${code.read}()`;
  out.line(`        ${runs}.add(${code.read === "bool" ? `Number(${value})` : value});`);
  end(out);
}

function readEntry(
  out: LineWriter,
  field: DescField & { fieldKind: "map" },
  code: ScalarCode | undefined,
): void {
  const key = scalarCode(field.mapKey);
  const name = code ? undefined : nameOf(messageOf(field));
  const target = `m.${field.localName}`;
  begin(out, field, wireType.len);
  out.line("        const outer = r.open();");
  out.line(`        let key: ${key.type} = ${key.zero};`);
  out.line(
    `        let value: ${code ? code.type : `${name} | undefined`}${code ? ` = ${code.zero}` : ""};`,
  );
  out.line("        while (r.at < r.end) {");
  out.line("          const entryTag = r.tag();");
  out.line(`          if (entryTag === ${tagOf(1, key.wire)}) key = r.${key.read}();`);
  if (code)
    out.line(`          else if (entryTag === ${tagOf(2, code.wire)}) value = r.${code.read}();`);
  else {
    out.line(`          else if (entryTag === ${tagOf(2, wireType.len)}) {`);
    out.line("            const outerOfValue = r.open();");
    out.line(`            value = read${name}(r, value ?? new ${name}());`);
    out.line("            r.close(outerOfValue);");
    out.line("          }");
  }
  out.line("          else r.skip(entryTag);");
  out.line("        }");
  out.line("        r.close(outer);");
  out.line(`        if (${target} === noEntries) ${target} = Object.create(null);`);
  out.line(
    `        ${target}[${key.type === "string" ? "key" : "String(key)"}] = value${code ? "" : ` ?? new ${name}()`};`,
  );
  end(out);
}

function begin(out: LineWriter, field: DescField, wire: number): void {
  out.line(`      case ${tagOf(field.number, wire)}: {`);
}

function end(out: LineWriter): void {
  out.line("        break;");
  out.line("      }");
}
