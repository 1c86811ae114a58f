import type { HeaderField, HeaderList } from "./hpack/header-field.ts";

/** Head of a request. It is shared by all requests whose header blocks are the same. */
export class RequestHead {
  readonly method: string;
  readonly scheme: string;
  /** `:authority`, else `host`. */
  readonly authority: string | undefined;
  readonly path: string;
  /** All fields but the pseudo-header fields. */
  readonly fields: readonly HeaderField[];
  /** Bytes that the content must have; -1 if that is not said. */
  readonly contentLength: number;
  /** What a host made of the head, kept beside it. */
  route: unknown;
  /** What a forwarder made of it, kept beside it. */
  forwarded: unknown;

  constructor(
    method: string,
    scheme: string,
    authority: string | undefined,
    path: string,
    fields: readonly HeaderField[],
    contentLength: number,
  ) {
    this.method = method;
    this.scheme = scheme;
    this.authority = authority;
    this.path = path;
    this.fields = fields;
    this.contentLength = contentLength;
    this.route = undefined;
    this.forwarded = undefined;
  }

  /** Value of the first field of a name, which is in lower case. */
  get(name: string): string | undefined {
    return fieldValue(this.fields, name);
  }
}

/** Head of a response. */
export class ResponseHead {
  readonly status: number;
  readonly fields: readonly HeaderField[];
  /** Bytes that the content must have; -1 if that is not said. */
  readonly contentLength: number;

  constructor(status: number, fields: readonly HeaderField[], contentLength: number) {
    this.status = status;
    this.fields = fields;
    this.contentLength = contentLength;
  }

  /** Value of the first field of a name, which is in lower case. */
  get(name: string): string | undefined {
    return fieldValue(this.fields, name);
  }
}

/** Value of the first field of a name. */
export function fieldValue(fields: readonly HeaderField[], name: string): string | undefined {
  for (const field of fields) if (field.name === name) return field.value;
  return undefined;
}

/** A head that breaks RFC 9113, section 8: a string says how. */
export type Malformed = string;

/** Checks the head of a request (sections 8.2 and 8.3). */
export function readRequestHead(list: HeaderList): RequestHead | Malformed {
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  const { fields } = list;
  let pseudo = 0;
  for (; pseudo < fields.length; pseudo++) {
    const { name, value } = fields[pseudo]!;
    if (name.charCodeAt(0) !== colon) break;
    switch (name) {
      case ":method":
        if (method !== undefined) return `${name} is given twice`;
        method = value;
        break;
      case ":scheme":
        if (scheme !== undefined) return `${name} is given twice`;
        scheme = value;
        break;
      case ":authority":
        if (authority !== undefined) return `${name} is given twice`;
        authority = value;
        break;
      case ":path":
        if (path !== undefined) return `${name} is given twice`;
        path = value;
        break;
      default:
        return `${name} is no pseudo-header field of a request`;
    }
    if (!isFieldValue(value)) return `the value of ${name} has characters that no field has`;
  }
  if (method === undefined || method === "") return ":method is missing";
  if (method === "CONNECT") {
    if (scheme !== undefined || path !== undefined) return "CONNECT has no :scheme and no :path";
    path = "";
  } else {
    if (scheme === undefined) return ":scheme is missing";
    if (path === undefined || path === "") return ":path is missing";
  }
  const regular = pseudo === 0 ? fields : fields.slice(pseudo);
  const problem = checkFields(regular);
  if (problem !== undefined) return problem;
  const contentLength = readContentLength(regular);
  if (typeof contentLength === "string") return contentLength;
  authority ??= fieldValue(regular, "host");
  return new RequestHead(method, scheme ?? "", authority, path, regular, contentLength);
}

/** Checks the head of a response. */
export function readResponseHead(list: HeaderList): ResponseHead | Malformed {
  const [first, ...regular] = list.fields;
  if (first?.name !== ":status") return "the first field is not :status";
  if (!/^[1-9][0-9][0-9]$/.test(first.value)) return ":status has not three digits";
  const problem = checkFields(regular);
  if (problem !== undefined) return problem;
  const contentLength = readContentLength(regular);
  if (typeof contentLength === "string") return contentLength;
  return new ResponseHead(Number(first.value), regular, contentLength);
}

/** Checks trailers; `undefined` if nothing is wrong. */
export function checkTrailers(list: HeaderList): Malformed | undefined {
  return checkFields(list.fields);
}

const colon = 0x3a;

/** Fields that speak of an HTTP/1.1 connection (section 8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

function checkFields(fields: readonly HeaderField[]): Malformed | undefined {
  for (const field of fields) {
    if (field.checked) continue;
    const { name, value } = field;
    if (!isFieldName(name)) return `"${name}" is no field name, or stands at the wrong place`;
    if (!isFieldValue(value)) return `the value of ${name} has characters that no field has`;
    if (connectionFields.has(name)) return `${name} is no field of HTTP/2`;
    if (name === "te" && value !== "trailers") return `te is "${value}", only trailers is allowed`;
    field.checked = true;
  }
  return undefined;
}

/** Characters of a token in lower case (RFC 9110, section 5.6.2). */
const nameCharacters = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  nameCharacters[character.charCodeAt(0)] = 1;
}

function isFieldName(name: string): boolean {
  for (let index = 0; index < name.length; index++) {
    if (nameCharacters[name.charCodeAt(index)] !== 1) return false;
  }
  return name.length > 0;
}

/** Section 8.2.1: no NUL, line feed or carriage return, and no white space at the ends. */
function isFieldValue(value: string): boolean {
  const { length } = value;
  if (length === 0) return true;
  for (let index = 0; index < length; index++) {
    const character = value.charCodeAt(index);
    if (character === 0 || character === 0x0a || character === 0x0d) return false;
  }
  return !isSpace(value.charCodeAt(0)) && !isSpace(value.charCodeAt(length - 1));
}

function isSpace(character: number): boolean {
  return character === 0x20 || character === 0x09;
}

function readContentLength(fields: readonly HeaderField[]): number | Malformed {
  let length = -1;
  for (const { name, value } of fields) {
    if (name !== "content-length") continue;
    const given = /^\d{1,15}$/.test(value) ? Number(value) : -1;
    if (given === -1) return `content-length is "${value}", expected a number of bytes`;
    if (length !== -1 && length !== given) return "content-length is given twice";
    length = given;
  }
  return length;
}
