import { once } from "node:events";
import { connect as connectHttp2, type OutgoingHttpHeaders } from "node:http2";
import { connect, type Socket } from "node:net";

/** What a caller saw of an answer. */
export interface SeenAnswer {
  readonly status: number | undefined;
  /** Lower-case names, sorted; those of one name are joined by a line end. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string>>;
  /** How it ended before it was whole; `undefined` if it was. */
  readonly broken: string | undefined;
  /** Informational answers before it. */
  readonly informational: readonly number[];
}

/** A request to make over HTTP/1.1. */
export interface Http1Request {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with its length, or in chunks with `chunked`. */
  readonly body?: string | Buffer;
  readonly chunked?: boolean;
  readonly trailers?: Readonly<Record<string, string>>;
  readonly version?: "1.0" | "1.1";
}

const never = 60_000;

/** Makes one call over a connection of its own, written and read byte by byte. */
export async function call1(port: number, request: Http1Request): Promise<SeenAnswer> {
  const socket = await openSocket(port);
  socket.write(textOfRequest(request));
  return readAnswer1(socket, request.method ?? "GET");
}

/** The bytes of a request. */
export function textOfRequest({
  method = "GET",
  path = "/",
  headers = {},
  body,
  chunked = false,
  trailers = {},
  version = "1.1",
}: Http1Request): Buffer {
  const bytes = Buffer.from(body ?? "");
  const framing = chunked
    ? "Transfer-Encoding: chunked\r\n"
    : body === undefined
      ? ""
      : `Content-Length: ${bytes.length}\r\n`;
  const lines = Object.entries({ Host: "example.com", ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const head = Buffer.from(`${method} ${path} HTTP/${version}\r\n${lines}${framing}\r\n`, "latin1");
  if (!chunked) return Buffer.concat([head, bytes]);
  const behind = Object.entries(trailers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const half = Math.floor(bytes.length / 2);
  const chunks = [bytes.subarray(0, half), bytes.subarray(half)]
    .filter((part) => part.length > 0)
    .map((part) =>
      Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]),
    );
  return Buffer.concat([head, ...chunks, Buffer.from(`0\r\n${behind}\r\n`)]);
}

/** Opens a connection; it is closed when the answer was read. */
export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Reads one answer, and closes the connection. */
export async function readAnswer1(socket: Socket, method = "GET"): Promise<SeenAnswer> {
  let bytes = Buffer.alloc(0);
  let closed = false;
  const wake = { resolve: () => {} };
  socket.on("data", (part: Buffer) => {
    bytes = Buffer.concat([bytes, part]);
    wake.resolve();
  });
  socket.once("close", () => {
    closed = true;
    wake.resolve();
  });
  const more = async (): Promise<boolean> => {
    if (closed) return false;
    await new Promise<void>((resolve) => {
      wake.resolve = resolve;
    });
    return true;
  };
  const timer = setTimeout(() => socket.destroy(), never);
  try {
    const informational: number[] = [];
    for (;;) {
      let end = bytes.indexOf("\r\n\r\n");
      while (end === -1) {
        if (!(await more()) && bytes.indexOf("\r\n\r\n") === -1) {
          return { ...nothing, informational, broken: "closed without an answer" };
        }
        end = bytes.indexOf("\r\n\r\n");
      }
      const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
      bytes = bytes.subarray(end + 4);
      const status = Number(first.split(" ")[1]);
      if (status < 200 && status !== 101) {
        informational.push(status);
        continue;
      }
      const headers = fieldsOf(lines);
      const bare = method === "HEAD" || status === 204 || status === 304 || status === 101;
      const rest = bare
        ? { body: "", trailers: {}, broken: undefined }
        : await readContent(
            headers,
            () => bytes,
            more,
            () => closed,
          );
      return { status, headers, informational, ...rest };
    }
  } finally {
    clearTimeout(timer);
    if (method !== "UPGRADE") socket.destroy();
  }
}

async function readContent(
  headers: Readonly<Record<string, string>>,
  bytes: () => Buffer,
  more: () => Promise<boolean>,
  closed: () => boolean,
): Promise<Pick<SeenAnswer, "body" | "trailers" | "broken">> {
  if (headers["transfer-encoding"] === "chunked") return readChunks(bytes, more);
  const length = headers["content-length"];
  if (length === undefined) {
    while (!closed()) await more();
    return { body: bytes().toString("latin1"), trailers: {}, broken: undefined };
  }
  while (bytes().length < Number(length) && (await more()));
  const broken = bytes().length < Number(length) ? "cut off" : undefined;
  return {
    body: bytes().subarray(0, Number(length)).toString("latin1"),
    trailers: {},
    broken,
  };
}

async function readChunks(
  bytes: () => Buffer,
  more: () => Promise<boolean>,
): Promise<Pick<SeenAnswer, "body" | "trailers" | "broken">> {
  let at = 0;
  let body = "";
  for (;;) {
    let lineEnd = bytes().indexOf("\r\n", at);
    while (lineEnd === -1) {
      if (!(await more())) return { body, trailers: {}, broken: "cut off" };
      lineEnd = bytes().indexOf("\r\n", at);
    }
    const size = Number.parseInt(bytes().subarray(at, lineEnd).toString("latin1"), 16);
    at = lineEnd + 2;
    if (size === 0) {
      let end =
        bytes()
          .subarray(at, at + 2)
          .toString() === "\r\n"
          ? at
          : bytes().indexOf("\r\n\r\n", at);
      while (end === -1 || bytes().length < at + 2) {
        if (!(await more())) return { body, trailers: {}, broken: "cut off" };
        end =
          bytes()
            .subarray(at, at + 2)
            .toString() === "\r\n"
            ? at
            : bytes().indexOf("\r\n\r\n", at);
      }
      const lines = bytes().subarray(at, end).toString("latin1").split("\r\n");
      return { body, trailers: fieldsOf(lines.filter((line) => line !== "")), broken: undefined };
    }
    while (bytes().length < at + size + 2) {
      if (!(await more())) {
        body += bytes()
          .subarray(at, at + size)
          .toString("latin1");
        return { body, trailers: {}, broken: "cut off" };
      }
    }
    body += bytes()
      .subarray(at, at + size)
      .toString("latin1");
    at += size + 2;
  }
}

const nothing: SeenAnswer = {
  status: undefined,
  headers: {},
  body: "",
  trailers: {},
  broken: undefined,
  informational: [],
};

function fieldsOf(lines: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    fields[name] = fields[name] === undefined ? value : `${fields[name]}\n${value}`;
  }
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A request to make over HTTP/2. */
export interface Http2Request {
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  readonly trailers?: Readonly<Record<string, string>>;
}

/** Makes one call over a connection of its own. */
export async function call2(
  port: number,
  { headers = {}, body, trailers }: Http2Request,
): Promise<SeenAnswer> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  try {
    const stream = session.request(
      { ":authority": "example.com", ...headers },
      {
        endStream: body === undefined && trailers === undefined,
        waitForTrailers: trailers !== undefined,
      },
    );
    const timer = setTimeout(() => stream.close(), never);
    const parts: Buffer[] = [];
    const informational: number[] = [];
    let fields: Record<string, string> = {};
    let behind: Record<string, string> = {};
    let status: number | undefined;
    let ended = false;
    stream.on("error", () => {});
    stream.on("headers", (head) => informational.push(Number(head[":status"])));
    stream.on("response", (head) => {
      status = head[":status"];
      fields = plainFields(head);
    });
    stream.on("trailers", (head) => {
      behind = plainFields(head);
    });
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => {
      ended = true;
    });
    if (trailers) stream.on("wantTrailers", () => stream.sendTrailers({ ...trailers }));
    if (body !== undefined) stream.write(Buffer.from(body));
    if (body !== undefined || trailers) stream.end();
    await new Promise<void>((resolve) => stream.once("close", () => resolve()));
    clearTimeout(timer);
    const whole = ended && (stream.rstCode === 0 || stream.rstCode === undefined);
    return {
      status,
      headers: fields,
      body: Buffer.concat(parts).toString("latin1"),
      trailers: behind,
      broken: whole ? undefined : `reset with ${stream.rstCode}`,
      informational,
    };
  } finally {
    session.destroy();
  }
}

function plainFields(head: Readonly<Record<string, unknown>>): Record<string, string> {
  const entries = Object.entries(head)
    .filter(([name]) => !name.startsWith(":"))
    .map(([name, value]) => [name, Array.isArray(value) ? value.join("\n") : String(value)])
    .sort(([a], [b]) => (a! < b! ? -1 : 1));
  return Object.fromEntries(entries);
}
