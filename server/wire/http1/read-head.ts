import type { HeaderField } from "../http2/hpack/header-field.ts";
import { RequestHead, ResponseHead } from "../http2/message-head.ts";
import { isToken, readFieldLines } from "./field-lines.ts";
import { Http1Error } from "./http1-error.ts";

/** How the end of content is told (RFC 9112, section 6.3); `close`: by the end of the connection. */
export type ContentEnd = "none" | "length" | "chunked" | "close";

/** Head of a request, and what it says of the connection. */
export class Http1RequestHead extends RequestHead {
  /** 0 of HTTP/1.0, 1 of HTTP/1.1. */
  readonly minor: number;
  /** The connection may serve another request. */
  readonly persists: boolean;
  readonly contentEnd: ContentEnd;
  /** Protocol that the caller asks to go over to. */
  readonly upgrade: string | undefined;

  constructor(
    line: RequestLine,
    authority: string | undefined,
    fields: readonly HeaderField[],
    contentLength: number,
    framing: Framing,
  ) {
    super(line.method, "http", authority, line.path, fields, contentLength);
    this.minor = line.minor;
    this.persists = framing.persists;
    this.contentEnd = framing.contentEnd;
    this.upgrade = framing.upgrade;
  }
}

/** Head of an answer, and what it says of the connection. */
export class Http1ResponseHead extends ResponseHead {
  readonly persists: boolean;
  /** As the head says; an answer to HEAD, and one with 204 or 304, has none whatever it says. */
  readonly contentEnd: ContentEnd;
  readonly upgrade: string | undefined;
  /** Time in ms that the connection may idle, if the server said so. */
  readonly keepAliveMs: number | undefined;

  constructor(
    status: number,
    fields: readonly HeaderField[],
    contentLength: number,
    framing: Framing,
  ) {
    super(status, fields, contentLength);
    this.persists = framing.persists;
    this.contentEnd = framing.contentEnd;
    this.upgrade = framing.upgrade;
    this.keepAliveMs = framing.keepAliveMs;
  }
}

interface RequestLine {
  readonly method: string;
  readonly path: string;
  readonly authority: string | undefined;
  readonly minor: number;
}

/** What the fields of one hop say. */
interface Framing {
  readonly persists: boolean;
  readonly contentEnd: ContentEnd;
  readonly upgrade: string | undefined;
  readonly keepAliveMs: number | undefined;
}

/**
 * Reads the head of a request: fields of the one hop are taken out, `upgrade` apart.
 *
 * @param text - without the empty line at its end; Latin-1
 * @throws Http1Error for what RFC 9112 does not allow, or what two readers could read in two ways
 */
export function readRequestHead(text: string): Http1RequestHead {
  const end = text.indexOf("\r\n");
  const line = readRequestLine(end === -1 ? text : text.slice(0, end));
  const all = end === -1 ? [] : readFieldLines(text, end + 2);
  const { fields, framing, contentLength } = splitFields(all, line.minor, false);
  let host: string | undefined;
  for (const { name, value } of all) {
    if (name !== "host") continue;
    if (host !== undefined) throw new Http1Error(400, "Host is given twice");
    host = value;
  }
  if (host === undefined && line.minor === 1) {
    throw new Http1Error(400, "Host is missing; HTTP/1.1 requires it");
  }
  return new Http1RequestHead(line, line.authority ?? host, fields, contentLength, framing);
}

/** Reads the head of an answer; see {@link readRequestHead}. */
export function readResponseHead(text: string): Http1ResponseHead {
  const end = text.indexOf("\r\n");
  const line = end === -1 ? text : text.slice(0, end);
  const match = /^HTTP\/1\.([01]) ([1-9][0-9][0-9])(?: [^\0\r\n]*)?$/.exec(line);
  if (!match) throw new Http1Error(502, "the answer does not begin as one of HTTP/1.1");
  const all = end === -1 ? [] : readFieldLines(text, end + 2);
  const { fields, framing, contentLength } = splitFields(all, Number(match[1]), true);
  return new Http1ResponseHead(Number(match[2]), fields, contentLength, framing);
}

function readRequestLine(line: string): RequestLine {
  const [method = "", target = "", version = "", ...rest] = line.split(" ");
  const minor = version === "HTTP/1.1" ? 1 : version === "HTTP/1.0" ? 0 : -1;
  if (minor === -1 && /^HTTP\/\d\.\d$/.test(version)) {
    throw new Http1Error(505, `${version} is not spoken here; use HTTP/1.1 or HTTP/2`);
  }
  if (!isToken(method) || minor === -1 || rest.length > 0 || !isTarget(target)) {
    throw new Http1Error(400, "the first line is no request of HTTP/1.1");
  }
  if (method === "CONNECT") return { method, path: "", authority: target, minor };
  if (target.startsWith("/") || target === "*") {
    return { method, path: target, authority: undefined, minor };
  }
  // Absolute form, as to a proxy (section 3.2.2): its host counts, not the header's.
  const absolute = /^https?:\/\/([^/?#]+)([/?][^#]*)?$/i.exec(target);
  if (!absolute) throw new Http1Error(400, "the target of the request is no path and no URL");
  const path = absolute[2] ?? "/";
  return { method, path: path.startsWith("?") ? `/${path}` : path, authority: absolute[1]!, minor };
}

function isTarget(target: string): boolean {
  for (let index = 0; index < target.length; index++) {
    const code = target.charCodeAt(index);
    if (code <= 0x20 || code === 0x7f) return false;
  }
  return target.length > 0;
}

/** Fields that speak of one connection only (RFC 9110, section 7.6.1). */
const hopFields = new Set([
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Takes out what speaks of the connection, and reads it. */
function splitFields(
  all: readonly HeaderField[],
  minor: number,
  isAnswer: boolean,
): {
  readonly fields: readonly HeaderField[];
  readonly framing: Framing;
  readonly contentLength: number;
} {
  const wrong = isAnswer ? 502 : 400;
  let options: Set<string> | undefined;
  let contentLength = -1;
  let chunked = false;
  let upgrade: string | undefined;
  let keepAlive: string | undefined;
  let hops = 0;
  for (const { name, value } of all) {
    if (name === "content-length") {
      const given = /^\d{1,15}$/.test(value) ? Number(value) : -1;
      if (given === -1 || (contentLength !== -1 && given !== contentLength)) {
        throw new Http1Error(wrong, `content-length is "${value}", expected one number of bytes`);
      }
      contentLength = given;
      continue;
    }
    if (!hopFields.has(name)) continue;
    hops++;
    if (name === "connection") {
      options ??= new Set();
      for (const option of value.split(",")) options.add(option.trim().toLowerCase());
    } else if (name === "transfer-encoding") {
      if (chunked || value.toLowerCase() !== "chunked") {
        const status = isAnswer ? 502 : 501;
        throw new Http1Error(status, `transfer-encoding is "${value}", only chunked is understood`);
      }
      chunked = true;
    } else if (name === "upgrade") upgrade = value;
    else if (name === "keep-alive") keepAlive = value;
  }
  if (chunked && (contentLength !== -1 || minor === 0)) {
    throw new Http1Error(
      wrong,
      "transfer-encoding stands beside content-length, or in HTTP/1.0: where the content ends is not clear",
    );
  }
  const isUpgrade = upgrade !== undefined && options?.has("upgrade") === true;
  // HTTP/2 by upgrade is not offered (RFC 9113 has done away with it); the request is served as it is.
  // Nor is another protocol after content: nobody would know where the one ends and the other begins.
  const isBare = isAnswer || (contentLength <= 0 && !chunked);
  const goesOver = isUpgrade && isBare && !/^h2c?$/i.test(upgrade!) ? upgrade : undefined;
  const fields =
    hops === 0 ? all : all.filter((field) => passesOn(field, options, goesOver !== undefined));
  const given =
    contentLength > 0 ? "length" : chunked ? "chunked" : contentLength === 0 ? "none" : undefined;
  return {
    fields,
    contentLength,
    framing: {
      persists: minor === 1 ? options?.has("close") !== true : options?.has("keep-alive") === true,
      contentEnd: given ?? (isAnswer ? "close" : "none"),
      upgrade: goesOver,
      keepAliveMs: readKeepAlive(keepAlive),
    },
  };
}

function passesOn(
  { name, value }: HeaderField,
  options: ReadonlySet<string> | undefined,
  goesOver: boolean,
): boolean {
  if (name === "upgrade") return goesOver;
  if (name === "te") return /(^|,)\s*trailers\s*(,|;|$)/i.test(value);
  if (hopFields.has(name)) return false;
  // What frames the content is no option that a peer may have taken out.
  return options?.has(name) !== true || name === "content-length";
}

function readKeepAlive(value: string | undefined): number | undefined {
  const match = value === undefined ? null : /(?:^|[,\s])timeout=(\d{1,6})/i.exec(value);
  return match ? Number(match[1]) * 1000 : undefined;
}
