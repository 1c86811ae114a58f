import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { certificateName } from "./certificate-name.ts";
import { allModels, ModelPatterns } from "./model-patterns.ts";
import { isPermission, type Permission, permissions } from "./permissions.ts";
import type { Principal } from "./principal.ts";

/** Who may call, as an access file says. */
export interface AccessTable {
  /** By SHA-256 of the key, in lower-case hexadecimal digits. */
  readonly keys: ReadonlyMap<string, Principal>;
  /** By {@link certificateName}. */
  readonly certificates: ReadonlyMap<string, Principal>;
}

const fields = ["name", "sha256", "certificate", "permissions", "models"];
const maxTextLength = 256;

/** Tells what is wrong with a field of an entry, or with the entry itself. */
type Report = (field: string | undefined, what: string) => void;

/**
 * Reads an access file: a list of entries in YAML, and so also JSON. Messages name lines and fields and
 * never hold a value of `sha256` or of a field that is not known, which may be a key.
 *
 * @param path - of the file, for messages
 * @throws TensorwireError `SETTING_INVALID` with every problem on a line of its own
 */
export function parseAccessFile(text: string, path: string): AccessTable {
  const lines = new LineCounter();
  const problems: string[] = [];
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => `${path}, line ${lines.linePos(offset).line}`;
  for (const { pos, message } of document.errors) problems.push(`${at(pos[0])}: ${message}`);
  const table = { keys: new Map<string, Principal>(), certificates: new Map<string, Principal>() };
  const list = document.contents;
  if (problems.length === 0 && !isSeq(list)) {
    problems.push(`${path}: expected a list of entries; a list of none is []`);
  }
  if (problems.length === 0 && isSeq(list)) {
    const seen = new Map<string, number>();
    for (const item of list.items as Node[]) {
      const begin = item.range?.[0] ?? 0;
      if (!isMap(item)) {
        problems.push(`${at(begin)}: expected an entry such as ${exampleEntry}`);
        continue;
      }
      const offsets = new Map<string, number>();
      for (const { key } of item.items) {
        if (isScalar(key)) offsets.set(String(key.value), key.range?.[0] ?? begin);
      }
      const report: Report = (field, what) => {
        const offset = (field === undefined ? undefined : offsets.get(field)) ?? begin;
        problems.push(`${at(offset)}${field === undefined ? "" : `, ${field}`}: ${what}`);
      };
      let entry: Readonly<Record<string, unknown>>;
      try {
        entry = item.toJS(document) as Record<string, unknown>;
      } catch (error) {
        report(undefined, messageOf(error));
        continue;
      }
      addEntry(table, entry, report, (identity, field) => {
        const line = lines.linePos(offsets.get(field) ?? begin).line;
        const first = seen.get(identity);
        seen.set(identity, first ?? line);
        return first;
      });
    }
  }
  if (problems.length > 0) {
    throw new TensorwireError("SETTING_INVALID", problems.join("\n"), {
      problems: `${problems.length}`,
    });
  }
  return table;
}

const exampleEntry = "- { name: app, sha256: ..., permissions: [infer] }";

/** @param seenAt - gives the line that had the same identity before */
function addEntry(
  table: {
    readonly keys: Map<string, Principal>;
    readonly certificates: Map<string, Principal>;
  },
  entry: Readonly<Record<string, unknown>>,
  report: Report,
  seenAt: (identity: string, field: string) => number | undefined,
): void {
  for (const field of Object.keys(entry)) {
    if (field === "key") {
      report(field, "a key never stands in the file; put its hash into sha256");
    } else if (!fields.includes(field)) {
      report(field, `not known; fields are ${fields.join(", ")}`);
    }
  }
  const name = readName(entry.name, report);
  const granted = readPermissions(entry.permissions, report);
  const models = readModels(entry.models, report);
  const hasKey = entry.sha256 !== undefined;
  const hasCertificate = entry.certificate !== undefined;
  if (hasKey === hasCertificate) {
    report(
      undefined,
      "expected either sha256, the hash of a key, or certificate, the name in a certificate",
    );
    return;
  }
  const field = hasKey ? "sha256" : "certificate";
  const identity = hasKey
    ? readHash(entry.sha256, report)
    : readCertificate(entry.certificate, report);
  if (identity === undefined) return;
  const first = seenAt(identity, field);
  if (first !== undefined) {
    report(field, `the same as of the entry on line ${first}; one of them is too many`);
  }
  const principal: Principal = {
    name,
    credential: hasKey ? "key" : "certificate",
    permissions: granted,
    models,
  };
  (hasKey ? table.keys : table.certificates).set(identity, principal);
}

function readName(value: unknown, report: Report): string {
  if (isText(value)) return value;
  report("name", `expected a text of 1 to ${maxTextLength} characters`);
  return "";
}

function readPermissions(value: unknown, report: Report): ReadonlySet<Permission> {
  const granted = new Set<Permission>();
  const expected = `expected a list of ${permissions.join(", ")}`;
  if (!Array.isArray(value) || value.length === 0) report("permissions", expected);
  else {
    for (const text of value as readonly unknown[]) {
      if (typeof text === "string" && isPermission(text)) granted.add(text);
      else report("permissions", `got ${JSON.stringify(text)}, ${expected}`);
    }
  }
  return granted;
}

function readModels(value: unknown, report: Report): ModelPatterns {
  if (value === undefined) return allModels;
  if (Array.isArray(value) && value.length > 0 && value.every(isText))
    return new ModelPatterns(value);
  report("models", 'expected a list of names or patterns such as ["iris*"]; without it all models');
  return allModels;
}

function readHash(value: unknown, report: Report): string | undefined {
  if (typeof value === "string" && /^[0-9a-f]{64}$/i.test(value)) return value.toLowerCase();
  report(
    "sha256",
    "expected 64 hexadecimal digits in quotes, as tensorwire keys create prints them",
  );
  return undefined;
}

function readCertificate(value: unknown, report: Report): string | undefined {
  const name = isText(value) ? certificateName(value) : undefined;
  if (name !== undefined) return name;
  report(
    "certificate",
    'expected a URI such as "spiffe://cluster/app", a DNS name, or a common name as "CN=app"',
  );
  return undefined;
}

function isText(value: unknown): value is string {
  // What goes into the log stays on one line.
  return (
    typeof value === "string" &&
    value.length > 0 &&
    value.length <= maxTextLength &&
    !/\p{Cc}/u.test(value)
  );
}
