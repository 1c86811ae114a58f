import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import type { ExecutionContext } from "ava";

/** What a server of a pod saw of a request: all that a proxy may change. */
export interface SeenRequest {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly version: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly bytes: number;
  readonly sha256: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

/** A server of a pod, of node:http and node:http2 on one port. */
export interface UserServer {
  readonly port: number;
  /** Requests that have come, by the path without its query. */
  readonly seen: ReadonlyMap<string, number>;
  /** Requests of `/slow` and `/hold` whose callers went before they were answered. */
  readonly left: () => number;
  /** Most requests that were under way at once, since it was last asked. */
  readonly takePeak: () => number;
  /** Lets what waits on `/hold` be answered. */
  readonly letGo: () => void;
  /** Requests that wait on `/hold`. */
  readonly holding: () => number;
  close(): Promise<void>;
}

/** Starts one that answers by the path; it ends with the test. */
export async function startUserServer(
  t: Pick<ExecutionContext, "teardown">,
  port = 0,
): Promise<UserServer> {
  const state = new State();
  const http1 = createHttp1({ keepAliveTimeout: 20_000 }, (request, response) =>
    state.count(request.url, response, () => answer1(state, request, response)),
  );
  http1.on("upgrade", (request, socket, head) => upgrade(request, socket as Socket, head));
  http1.on("checkContinue", (request, response) => {
    if (request.url === "/refuse-continue") {
      response.writeHead(417, { "content-type": "text/plain" }).end("no");
      return;
    }
    response.writeContinue();
    state.count(request.url, response, () => answer1(state, request, response));
  });
  const http2 = createHttp2({ maxSessionMemory: 1000 });
  http2.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    state.count(headers[":path"], stream, () => answer2(state, stream, headers));
  });
  http2.on("session", (session) => session.on("error", () => {}));
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    socket.once("readable", () => {
      const first = socket.read() as Buffer | null;
      if (!first) return;
      socket.unshift(first);
      (first.subarray(0, 3).toString() === "PRI" ? http2 : http1).emit("connection", socket);
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    if (!server.listening) return;
    server.close();
    await once(server, "close");
  };
  t.teardown(close);
  return {
    port: (server.address() as AddressInfo).port,
    seen: state.seen,
    left: () => state.left,
    takePeak: () => state.takePeak(),
    letGo: () => state.letGo(),
    holding: () => state.holding,
    close,
  };
}

class State {
  readonly seen = new Map<string, number>();
  left = 0;
  holding = 0;
  #open = 0;
  #peak = 0;
  #gate = Promise.withResolvers<void>();

  count(
    url: string | undefined,
    response: ServerResponse | ServerHttp2Stream,
    run: () => Promise<void>,
  ): void {
    const path = (url ?? "").split("?")[0]!;
    this.seen.set(path, (this.seen.get(path) ?? 0) + 1);
    this.#open++;
    this.#peak = Math.max(this.#peak, this.#open);
    response.once("close", () => this.#open--);
    // A caller that goes while its request is read is part of some tests.
    run().catch(() => response.destroy());
  }

  takePeak(): number {
    const peak = this.#peak;
    this.#peak = this.#open;
    return peak;
  }

  letGo(): void {
    this.#gate.resolve();
    this.#gate = Promise.withResolvers();
  }

  async held(): Promise<void> {
    this.holding++;
    await this.#gate.promise;
    this.holding--;
  }
}

async function bodyOf(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

function seenOf(
  method: string | undefined,
  url: string | undefined,
  version: string,
  headers: Readonly<Record<string, unknown>>,
  body: Buffer,
  trailers: Readonly<Record<string, unknown>>,
): string {
  const sorted = Object.fromEntries(Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1)));
  const seen: SeenRequest = {
    method,
    url,
    version,
    headers: sorted,
    bytes: body.length,
    sha256: createHash("sha256").update(body).digest("hex"),
    trailers,
  };
  return JSON.stringify(seen);
}

async function answer1(
  state: State,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? "/", "http://user");
  const number = Number(url.searchParams.get("n") ?? 0);
  response.on("error", () => {});
  request.on("error", () => {});
  switch (url.pathname) {
    case "/status":
      response.writeHead(number, { "content-type": "text/plain" });
      response.end(number === 204 || number === 304 ? undefined : "status");
      return;
    case "/headers":
      response.writeHead(200, {
        "content-type": "text/plain",
        "set-cookie": ["a=1", "b=2; Path=/"],
        "x-empty": "",
        "x-upper": "Value With Blanks",
        "cache-control": "no-store",
        location: "/elsewhere",
      });
      response.end("headers");
      return;
    case "/early":
      response.writeEarlyHints({ link: "</a.css>; rel=preload; as=style" });
      response.writeHead(200, { "content-type": "text/plain" }).end("early");
      return;
    case "/slow": {
      response.once("close", () => {
        if (!response.writableFinished) state.left++;
      });
      await wait(number);
      response.writeHead(200, { "content-type": "text/plain" }).end("slow");
      return;
    }
    case "/hold":
      response.once("close", () => {
        if (!response.writableFinished) state.left++;
      });
      await state.held();
      response.writeHead(200, { "content-type": "text/plain" }).end("held");
      return;
    case "/pieces":
      // Three pieces with a pause between, without a length.
      response.writeHead(200, { "content-type": "text/plain" });
      for (let index = 0; index < 3; index++) {
        response.write(`piece ${index}\n`);
        await wait(number);
      }
      response.end();
      return;
    case "/sized-pieces":
      response.writeHead(200, { "content-type": "text/plain", "content-length": "24" });
      for (let index = 0; index < 3; index++) {
        response.write(`piece ${index}\n`);
        await wait(number);
      }
      response.end();
      return;
    case "/trailers":
      response.writeHead(200, { "content-type": "text/plain", trailer: "x-sum" });
      response.write("with trailers");
      response.addTrailers({ "x-sum": "12" });
      response.end();
      return;
    case "/big":
      await bodyOf(request);
      response.writeHead(200, { "content-type": "application/octet-stream" });
      response.end(Buffer.alloc(number, 7));
      return;
    case "/gone":
      request.socket.destroy();
      return;
    case "/gone-after-body":
      await bodyOf(request);
      request.socket.destroy();
      return;
    case "/garbage":
      request.socket.end("this is no HTTP\r\n\r\n");
      return;
    case "/cut":
      response.writeHead(200, { "content-type": "text/plain", "content-length": "100" });
      response.write("only this");
      await wait(50);
      request.socket.destroy();
      return;
    case "/cut-chunked":
      response.writeHead(200, { "content-type": "text/plain" });
      response.write("only this");
      await wait(50);
      request.socket.destroy();
      return;
    case "/until-close":
      request.socket.end("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end");
      return;
    case "/answer-first":
      // Answers without reading what is sent.
      response
        .writeHead(413, { "content-type": "text/plain", connection: "close" })
        .end("too much");
      return;
    default: {
      const body = await bodyOf(request);
      const { method, url: target, headers, trailers } = request;
      response.writeHead(200, { "content-type": "application/json" });
      response.end(seenOf(method, target, request.httpVersion, headers, body, trailers));
    }
  }
}

function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
  if (request.url === "/no-upgrade") {
    socket.end(
      "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nno",
    );
    return;
  }
  socket.write(
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-Up: yes\r\n\r\n",
  );
  const echo = (bytes: Buffer): void => {
    if (bytes.toString() === "bye") socket.end("closing");
    else socket.write(`echo ${bytes.toString()}`);
  };
  if (head.length > 0) echo(head);
  socket.on("data", echo);
}

/** A message of gRPC that is not compressed. */
export function grpcMessage(bytes: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

async function answer2(
  state: State,
  stream: ServerHttp2Stream,
  headers: Readonly<Record<string, unknown>>,
): Promise<void> {
  const url = new URL(String(headers[":path"] ?? "/"), "http://user");
  const number = Number(url.searchParams.get("n") ?? 0);
  const grpcHead = { ":status": 200, "content-type": "application/grpc" };
  const withStatus = (status: string, message?: string): void => {
    stream.on("wantTrailers", () =>
      stream.sendTrailers({
        "grpc-status": status,
        ...(message === undefined ? {} : { "grpc-message": message }),
      }),
    );
  };
  switch (url.pathname) {
    case "/test.Service/Unary": {
      const body = await bodyOf(stream);
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.end(body);
      return;
    }
    case "/test.Service/Fails":
      stream.respond(
        { ...grpcHead, "grpc-status": "5", "grpc-message": "not%20here" },
        { endStream: true },
      );
      return;
    case "/test.Service/FailsLate": {
      withStatus("13", "late");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.end(grpcMessage(Buffer.from("first")));
      return;
    }
    case "/test.Service/ServerStream":
      await bodyOf(stream);
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      for (let index = 0; index < 3; index++) {
        stream.write(grpcMessage(Buffer.from(`answer ${index}`)));
        await wait(number);
      }
      stream.end();
      return;
    case "/test.Service/Bidi":
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.on("data", (bytes: Buffer) => stream.write(bytes));
      stream.on("end", () => stream.end());
      return;
    case "/test.Service/Slow":
      stream.once("close", () => {
        if (stream.rstCode !== 0) state.left++;
      });
      await wait(number);
      if (stream.destroyed) return;
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.end(grpcMessage(Buffer.from("slow")));
      return;
    case "/test.Service/Hold":
      stream.once("close", () => {
        if (stream.rstCode !== 0) state.left++;
      });
      await state.held();
      if (stream.destroyed) return;
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.end(grpcMessage(Buffer.from("held")));
      return;
    case "/test.Service/Reset":
      stream.close(number);
      return;
    case "/grpc.health.v1.Health/Check":
      await bodyOf(stream);
      withStatus("0");
      stream.respond(grpcHead, { waitForTrailers: true });
      stream.end(grpcMessage(Buffer.from([8, 1])));
      return;
    case "/status":
      stream.respond({ ":status": number, "content-type": "text/plain" });
      stream.end(number === 204 || number === 304 ? undefined : "status");
      return;
    case "/gone":
      stream.session?.destroy();
      return;
    case "/slow":
      await wait(number);
      if (stream.destroyed) return;
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      stream.end("slow");
      return;
    case "/hold":
      await state.held();
      if (stream.destroyed) return;
      stream.respond({ ":status": 200, "content-type": "text/plain" });
      stream.end("held");
      return;
    case "/big":
      await bodyOf(stream);
      stream.respond({ ":status": 200, "content-type": "application/octet-stream" });
      stream.end(Buffer.alloc(number, 7));
      return;
    case "/trailers":
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "12" }));
      stream.respond({ ":status": 200, "content-type": "text/plain" }, { waitForTrailers: true });
      stream.end("with trailers");
      return;
    default: {
      let trailers: Readonly<Record<string, unknown>> = {};
      stream.on("trailers", (fields) => {
        trailers = fields;
      });
      const body = await bodyOf(stream);
      stream.respond({ ":status": 200, "content-type": "application/json" });
      const { ":method": method, ":path": path, ...rest } = headers;
      stream.end(seenOf(String(method), String(path), "2", rest, body, trailers));
    }
  }
}
