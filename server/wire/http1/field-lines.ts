import { HeaderField } from "../http2/hpack/header-field.ts";
import { Http1Error } from "./http1-error.ts";

/** Characters of a token (RFC 9110, section 5.6.2). */
const tokenCharacters = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  tokenCharacters[character.charCodeAt(0)] = 1;
}

/** Names that were seen in any case, in lower case; names come from peers, so their number is bounded. */
const lowerNames = new Map<string, string>();
const maxNames = 1024;

/** Whether a text is a token, and not empty. */
export function isToken(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (tokenCharacters[text.charCodeAt(index)] !== 1) return false;
  }
  return text.length > 0;
}

/**
 * Reads field lines (RFC 9112, section 5), names in lower case.
 *
 * @param text - lines with CRLF between them and none behind the last; Latin-1
 * @param from - where the first line begins
 * @throws Http1Error for lines that are none, also folded ones
 */
export function readFieldLines(text: string, from: number): HeaderField[] {
  const fields: HeaderField[] = [];
  let start = from;
  while (start < text.length) {
    let end = text.indexOf("\r\n", start);
    if (end === -1) end = text.length;
    fields.push(readLine(text, start, end));
    start = end + 2;
  }
  return fields;
}

function readLine(text: string, start: number, end: number): HeaderField {
  const colon = text.indexOf(":", start);
  if (colon === -1 || colon >= end) throw new Http1Error(400, "a header line has no colon");
  const given = text.slice(start, colon);
  let name = lowerNames.get(given);
  if (name === undefined) {
    // A blank before the colon, or at the front of the line (folding), is how requests are smuggled.
    if (!isToken(given)) throw new Http1Error(400, "a header line has no name of a header");
    name = given.toLowerCase();
    if (lowerNames.size < maxNames) lowerNames.set(given, name);
  }
  let from = colon + 1;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  for (let index = from; index < to; index++) {
    const code = text.charCodeAt(index);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) {
      throw new Http1Error(400, `the value of ${name} has characters that no header has`);
    }
  }
  const field = new HeaderField(name, text.slice(from, to));
  field.checked = true;
  return field;
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
