import { once } from "node:events";
import { constants } from "node:http2";
import test from "ava";
import { peerKey } from "../../server/wire/peer.ts";
import { PeerGoneError } from "../../server/wire/request-signal.ts";
import {
  bodyOf,
  chunks,
  closed,
  echo,
  frame,
  http2Beginning,
  openHttp2,
  openSocket,
  request2,
  startWire,
  text,
} from "./start-wire.ts";

const post = { ":method": "POST", ":path": "/x" };

test("a request reaches the handler whole", async (t) => {
  const { port } = await startWire(t, async (request) => {
    const { method, url, httpVersion, header, contextValues } = request;
    return {
      status: 201,
      header: new Headers({ "x-answer": "yes" }),
      body: text(
        JSON.stringify({
          method,
          url,
          httpVersion,
          field: header.get("x-field"),
          peer: contextValues?.get(peerKey),
          body: (await bodyOf(request)).toString(),
        }),
      ),
    };
  });
  const answer = await request2(
    openHttp2(t, port),
    { ":method": "PUT", ":path": "/a/b?c=d", ":authority": "h:1", "x-field": ["1", "2"] },
    Buffer.from("hello"),
  );
  t.is(answer.status, 201);
  t.is(answer.headers["x-answer"], "yes");
  t.is(answer.rstCode, constants.NGHTTP2_NO_ERROR);
  t.deepEqual(JSON.parse(answer.body.toString()), {
    method: "PUT",
    url: "http://h:1/a/b?c=d",
    httpVersion: "2.0",
    field: "1, 2",
    peer: { address: "127.0.0.1", local: true },
    body: "hello",
  });
});

test("16 MiB go there and back", async (t) => {
  const { port } = await startWire(t, echo);
  const sent = Buffer.alloc(16 * 1024 * 1024, "tensor");
  const answer = await request2(openHttp2(t, port), post, sent);
  t.true(answer.body.equals(sent));
});

test("trailers follow a body", async (t) => {
  const trailer = new Headers();
  const { port } = await startWire(t, async () => ({
    status: 200,
    header: new Headers({ "content-type": "application/grpc" }),
    body: (async function* () {
      yield Buffer.from("m");
      trailer.set("grpc-status", "0");
    })(),
    trailer,
  }));
  const answer = await request2(openHttp2(t, port), post);
  t.is(answer.body.toString(), "m");
  t.is(answer.trailers?.["grpc-status"], "0");
  t.is(answer.headers["grpc-status"], undefined);
});

test("a gRPC error without a message is one header block", async (t) => {
  const { port } = await startWire(t, async () => ({
    status: 200,
    header: new Headers({ "content-type": "application/grpc" }),
    body: chunks(),
    trailer: new Headers({ "grpc-status": "5", "grpc-message": "no" }),
  }));
  const answer = await request2(openHttp2(t, port), post);
  t.is(answer.headers["grpc-status"], "5");
  t.is(answer.headers["grpc-message"], "no");
  t.is(answer.trailers, undefined);
});

test("trailers without a body are sent", async (t) => {
  const { port } = await startWire(t, async () => ({
    status: 200,
    trailer: new Headers({ "x-end": "1" }),
  }));
  const answer = await request2(openHttp2(t, port), post);
  t.is(answer.trailers?.["x-end"], "1");
});

test("HEAD has headers and no body", async (t) => {
  const left = Promise.withResolvers<void>();
  const body: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.reject(new Error("the body was read")),
      return: async () => {
        left.resolve();
        return { done: true, value: undefined };
      },
    }),
  };
  const { port } = await startWire(t, async () => ({
    status: 200,
    header: new Headers({ "content-length": "4" }),
    body,
  }));
  const answer = await request2(openHttp2(t, port), { ":method": "HEAD", ":path": "/" });
  t.is(answer.headers["content-length"], "4");
  t.is(answer.body.byteLength, 0);
  await left.promise;
});

test("headers of HTTP/1.1 connections are left out", async (t) => {
  const { port, errors } = await startWire(t, async () => ({
    status: 503,
    header: new Headers({ connection: "close", "x-kept": "1" }),
  }));
  const answer = await request2(openHttp2(t, port), post);
  t.is(answer.status, 503);
  t.is(answer.headers["x-kept"], "1");
  t.deepEqual(errors, []);
});

test("a handler that rejects is answered with 500", async (t) => {
  const { port, errors } = await startWire(t, () => Promise.reject(new Error("broken")));
  const session = openHttp2(t, port);
  t.is((await request2(session, post, Buffer.from("x"))).status, 500);
  t.is((await request2(session, post)).status, 500);
  t.deepEqual(
    errors.map(({ where, error }) => [where, error.message]),
    [
      ["http2", "broken"],
      ["http2", "broken"],
    ],
  );
});

test("a body that fails resets the stream, and the connection goes on", async (t) => {
  const { port, errors } = await startWire(t, async ({ url }) => ({
    status: 200,
    body: url.endsWith("/bad")
      ? (async function* () {
          yield Buffer.from("some");
          throw new Error("broken");
        })()
      : text("good"),
  }));
  const session = openHttp2(t, port);
  const bad = await request2(session, { ":path": "/bad" });
  t.is(bad.rstCode, constants.NGHTTP2_INTERNAL_ERROR);
  t.is((await request2(session, { ":path": "/good" })).body.toString(), "good");
  t.is(errors[0]?.error.message, "broken");
});

test("an answer to an upload that nobody reads arrives whole, and stops the upload", async (t) => {
  const { port, errors } = await startWire(t, async () => ({
    status: 200,
    header: new Headers({ "content-type": "application/grpc" }),
    body: text("too much"),
    trailer: new Headers({ "grpc-status": "8" }),
  }));
  const session = openHttp2(t, port);
  const stream = session.request(post);
  stream.on("error", () => {});
  let trailers: object | undefined;
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  const body: Buffer[] = [];
  stream.on("data", (part) => body.push(part));
  const upload = (): void => {
    while (!stream.destroyed && stream.write(Buffer.alloc(65_536)));
  };
  stream.on("drain", upload);
  upload();
  await closed(stream);
  t.is(Buffer.concat(body).toString(), "too much");
  t.like(trailers, { "grpc-status": "8" });
  t.is(stream.rstCode, constants.NGHTTP2_NO_ERROR);
  t.deepEqual(errors, []);
});

test("a handler that stops reading midway can still answer", async (t) => {
  const { port } = await startWire(t, async ({ body }) => {
    for await (const _ of body as AsyncIterable<Uint8Array>) break;
    return { status: 413, body: text("enough") };
  });
  const answer = await request2(openHttp2(t, port), post, Buffer.alloc(8 * 1024 * 1024));
  t.is(answer.status, 413);
  t.is(answer.body.toString(), "enough");
});

test("a reader that is slow holds the body back", async (t) => {
  const produced = { slow: 0 };
  const { port } = await startWire(t, async ({ url }) => ({
    status: 200,
    body: url.endsWith("/slow")
      ? (async function* () {
          for (; produced.slow < 1000; produced.slow++) yield new Uint8Array(65_536);
        })()
      : text("ok"),
  }));
  const session = openHttp2(t, port);
  const stream = session.request({ ":path": "/slow" });
  stream.on("error", () => {});
  await once(stream, "response");
  for (let call = 0; call < 50; call++) await request2(session, { ":path": "/other" });
  t.true(produced.slow < 100, `${produced.slow} chunks were made`);
  let received = 0;
  stream.on("data", (part: Buffer) => {
    received += part.byteLength;
  });
  await once(stream, "end");
  t.is(received, 1000 * 65_536);
});

test("a reset aborts the signal, fails the body and leaves the answer", async (t) => {
  const seen = Promise.withResolvers<unknown[]>();
  const started = Promise.withResolvers<void>();
  const { port, errors } = await startWire(t, async ({ signal, body }) => {
    started.resolve();
    const aborted = once(signal, "abort").then(() => signal.reason);
    const read = await Array.fromAsync(body as AsyncIterable<Uint8Array>).catch((error) => error);
    seen.resolve([await aborted, read]);
    throw new Error("nobody hears this");
  });
  // By hand, as Node's client ends a request before it resets it.
  const socket = await openSocket(t, port);
  const headers = [0x83, 0x86, 0x84, 0x41, 1, 0x68]; // POST, http, /, authority h
  socket.write(
    Buffer.concat([
      http2Beginning,
      frame(1, 4, 1, Buffer.from(headers)),
      frame(0, 0, 1, Buffer.from("half a mess")),
    ]),
  );
  await started.promise;
  socket.write(frame(3, 0, 1, Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL])));
  const [reason, read] = await seen.promise;
  t.true(reason instanceof PeerGoneError);
  t.true(read instanceof PeerGoneError);
  t.deepEqual(errors, []);
});

test("a connection that breaks aborts its calls and ends their answers", async (t) => {
  const left = Promise.withResolvers<void>();
  const reason = Promise.withResolvers<unknown>();
  const { port, wire } = await startWire(t, async ({ signal }) => {
    signal.addEventListener("abort", () => reason.resolve(signal.reason));
    return {
      status: 200,
      body: (async function* () {
        try {
          for (;;) yield new Uint8Array(65_536);
        } finally {
          left.resolve();
        }
      })(),
    };
  });
  const session = openHttp2(t, port);
  const stream = session.request(post);
  stream.on("error", () => {});
  await once(stream, "response");
  t.is(wire.stats.openStreams, 1);
  session.socket.destroy();
  t.true((await reason.promise) instanceof PeerGoneError);
  await left.promise;
});

test("a call that ends as it should does not abort its signal", async (t) => {
  const signals: AbortSignal[] = [];
  const { port } = await startWire(t, async (request) => {
    signals.push(request.signal);
    return echo(request);
  });
  const session = openHttp2(t, port);
  await request2(session, post, Buffer.from("x"));
  await request2(session, post);
  t.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false, false],
  );
});
