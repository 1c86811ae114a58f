import { STATUS_CODES } from "node:http";
import type { HeaderTemplate, OutgoingField } from "../http2/hpack/hpack-encoder.ts";

/** A head as HTTP/1.1 writes it, without what it says of the connection and without its empty line. */
export interface HeadText {
  readonly text: string;
  /** It says the length of the content. */
  readonly saysLength: boolean;
  readonly contentLength: number;
  /** It asks for, or grants, another protocol. */
  readonly upgrade: boolean;
}

const known = new WeakMap<HeaderTemplate, HeadText>();

/** Text of a head for a template that is sent again, or for fields, with pseudo-header fields first. */
export function headText(
  template: HeaderTemplate | undefined,
  fields: readonly OutgoingField[] | undefined,
): HeadText {
  if (template === undefined || template.fields.length === 0) return textOf(fields ?? []);
  let text = known.get(template);
  if (!text) {
    text = textOf(template.fields);
    known.set(template, text);
  }
  return text;
}

/** Field lines, each with its CRLF; also for trailers. */
export function fieldLines(fields: readonly OutgoingField[]): string {
  let text = "";
  for (const [name, value] of fields) text += `${canonicalName(name)}: ${value}\r\n`;
  return text;
}

function textOf(fields: readonly OutgoingField[]): HeadText {
  let method: string | undefined;
  let path = "/";
  let authority = "";
  let status: string | undefined;
  let at = 0;
  for (; at < fields.length; at++) {
    const [name, value] = fields[at]!;
    if (name === ":method") method = value;
    else if (name === ":path") path = value;
    else if (name === ":authority") authority = value;
    else if (name === ":status") status = value;
    else if (!name.startsWith(":")) break;
  }
  let text =
    method === undefined
      ? `HTTP/1.1 ${status} ${STATUS_CODES[status ?? ""] ?? ""}\r\n`
      : `${method} ${path} HTTP/1.1\r\nHost: ${authority}\r\n`;
  let contentLength = -1;
  let upgrade = false;
  for (; at < fields.length; at++) {
    const [name, value] = fields[at]!;
    if (name === "content-length") contentLength = Number(value);
    else if (name === "upgrade") upgrade = true;
    text += `${canonicalName(name)}: ${value}\r\n`;
  }
  return { text, saysLength: contentLength !== -1, contentLength, upgrade };
}

/** Names that were written; they come from peers, so their number is bounded. */
const canonicalNames = new Map<string, string>();
const maxNames = 1024;

/**
 * `x-request-id` as `X-Request-Id`: how most servers of HTTP/1.1 write them, and what those that compare
 * letter by letter expect.
 */
function canonicalName(name: string): string {
  let canonical = canonicalNames.get(name);
  if (canonical === undefined) {
    canonical = name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
    if (canonicalNames.size < maxNames) canonicalNames.set(name, canonical);
  }
  return canonical;
}
