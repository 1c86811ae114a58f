import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createWritableIterable } from "@connectrpc/connect/protocol";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import test, { type ExecutionContext } from "ava";
import { universalClient } from "../../../server/wire/client/universal-client.ts";
import {
  createWireTransport,
  type WireTransportOptions,
} from "../../../server/wire/client/wire-transport.ts";
import { until } from "../../support/until.ts";
import { startWire } from "../start-wire.ts";
import { EchoService, echoHandler, echoMethods } from "./echo-service.ts";
import { openChannel, startNodeHttp2, startRawServer } from "./start-peers.ts";

const protocols = ["grpc", "grpc-web", "connect"] as const;
type Protocol = WireTransportOptions["protocol"];

/** Methods over our own server, and over connect-node on node:http2. */
const servers = {
  "our own": async (t: ExecutionContext, methods = {}) =>
    (await startWire(t, echoHandler(methods))).port,
  "connect-node": async (t: ExecutionContext, methods = {}) => {
    const handler = connectNodeAdapter({
      routes: (router) => void router.service(EchoService, { ...echoMethods, ...methods }),
    });
    const { server, port } = await startNodeHttp2(t, () => {});
    server.removeAllListeners("stream");
    server.on("request", handler);
    return port;
  },
} as const;

function clientOf(t: ExecutionContext, port: number, protocol: Protocol) {
  const channel = openChannel(t, port);
  return { channel, client: createClient(EchoService, createWireTransport({ channel, protocol })) };
}

async function* texts(...values: string[]) {
  for (const text of values) yield { text };
}

for (const [name, start] of Object.entries(servers)) {
  for (const protocol of protocols) {
    test(`${protocol} to ${name}: calls of every kind`, async (t) => {
      const { client, channel } = clientOf(t, await start(t), protocol);
      let head: Headers | undefined;
      let trailer: Headers | undefined;
      const answer = await client.unary(
        { text: "ä", data: new Uint8Array(100_000).fill(7) },
        {
          headers: { "x-given": "v" },
          onHeader: (headers) => {
            head = headers;
          },
          onTrailer: (headers) => {
            trailer = headers;
          },
        },
      );
      t.is(answer.text, "ä");
      t.true(Buffer.alloc(100_000, 7).equals(answer.data));
      t.is(head?.get("x-head"), "v");
      t.is(trailer?.get("x-trailer"), "t");

      t.is((await client.clientStream(texts("a", "b", "c"))).text, "a,b,c");
      t.is((await client.clientStream(texts())).text, "");
      const streamed = await Array.fromAsync(client.serverStream({ text: "3" }));
      t.deepEqual(
        streamed.map(({ text }) => text),
        ["0", "1", "2"],
      );
      const echoed = await Array.fromAsync(client.bidi(texts("x", "y")));
      t.deepEqual(
        echoed.map(({ text }) => text),
        ["x", "y"],
      );
      t.is(channel.stats.connections, 1);
    });

    test(`${protocol} to ${name}: both sides of a stream talk in turn`, async (t) => {
      const { client } = clientOf(t, await start(t), protocol);
      const turns: ((text: string) => void)[] = [];
      let turn = Promise.withResolvers<string>();
      turns.push(turn.resolve);
      const requests = async function* () {
        for (;;) {
          const text = await turn.promise;
          turn = Promise.withResolvers();
          turns.push(turn.resolve);
          if (text === "over") return;
          yield { text };
        }
      };
      const answers = client.bidi(requests())[Symbol.asyncIterator]();
      for (const text of ["one", "two", "three"]) {
        const answer = answers.next();
        turns.pop()?.(text);
        t.is((await answer).value?.text, text);
      }
      turns.pop()?.("over");
      t.true((await answers.next()).done);
    });

    test(`${protocol} to ${name}: errors keep code, message and metadata`, async (t) => {
      const { client } = clientOf(t, await start(t), protocol);
      const error = await t.throwsAsync(client.unary({ text: "" }), { instanceOf: ConnectError });
      t.is(error.code, Code.InvalidArgument);
      t.is(error.rawMessage, "käse: text is empty");
      t.is(error.metadata.get("x-why"), "empty");
      const answers: string[] = [];
      const failed = await t.throwsAsync(
        async () => {
          for await (const { text } of client.bidi(texts("a", "fail"))) answers.push(text);
        },
        { instanceOf: ConnectError },
      );
      t.deepEqual(answers, ["a", "fail"]);
      t.is(failed.code, Code.Aborted);
    });

    test(`${protocol} to ${name}: an answer that ends first ends the call`, async (t) => {
      const { client, channel } = clientOf(t, await start(t), protocol);
      let left = false;
      const requests = async function* () {
        try {
          yield { text: "a" };
          yield { text: "end" };
          for (;;) {
            yield { text: "more" };
            await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          left = true;
        }
      };
      const answers = await Array.fromAsync(client.bidi(requests()));
      t.deepEqual(
        answers.map(({ text }) => text),
        ["a", "end"],
      );
      await until(
        () => left && channel.stats.streams === 0,
        () => `left ${left}, ${channel.stats.streams} streams`,
      );
    });

    test(`${protocol} to ${name}: deadlines and signals reach the server`, async (t) => {
      let began = 0;
      let aborted = 0;
      const { client } = clientOf(
        t,
        await start(t, {
          unary: (_: unknown, { signal }: { readonly signal: AbortSignal }) =>
            new Promise((_, reject) => {
              began++;
              signal.addEventListener("abort", () => {
                aborted++;
                reject(signal.reason);
              });
            }),
        }),
        protocol,
      );
      const late = await t.throwsAsync(client.unary({ text: "x" }, { timeoutMs: 2_000 }), {
        instanceOf: ConnectError,
      });
      t.is(late.code, Code.DeadlineExceeded);
      const abort = new AbortController();
      const call = client.unary({ text: "x" }, { signal: abort.signal });
      await until(
        () => began === 2,
        () => `${began} of 2 calls began at the server`,
      );
      abort.abort();
      const cancelled = await t.throwsAsync(call, { instanceOf: ConnectError });
      t.is(cancelled.code, Code.Canceled);
      await until(
        () => aborted === 2,
        () => `${aborted} of 2 calls were aborted at the server`,
      );
    });
  }
}

for (const [http2Code, code] of [
  [0, Code.Internal],
  [1, Code.Internal],
  [2, Code.Internal],
  [7, Code.Unavailable],
  [8, Code.Canceled],
  [11, Code.ResourceExhausted],
  [12, Code.PermissionDenied],
] as const) {
  test(`a stream reset with ${http2Code} is ${Code[code]}`, async (t) => {
    const { port } = await startNodeHttp2(t, (stream) => stream.close(http2Code));
    const { client } = clientOf(t, port, "grpc");
    const error = await t.throwsAsync(client.unary({ text: "x" }), { instanceOf: ConnectError });
    t.is(error.code, code);
  });
}

test("a server that is gone is UNAVAILABLE, before and amid an answer", async (t) => {
  const server = await startRawServer(t);
  const { client } = clientOf(t, server.port, "grpc");
  const call = client.unary({ text: "x" });
  const peer = await server.next();
  await peer.next(({ type }) => type === 1);
  peer.destroy();
  const error = await t.throwsAsync(call, { instanceOf: ConnectError });
  t.is(error.code, Code.Unavailable);
});

test("a reader of a body that stops ends the stream", async (t) => {
  const forever = async () => ({
    status: 200,
    body: (async function* () {
      for (;;) yield Buffer.alloc(10_000);
    })(),
  });
  const { port, wire } = await startWire(t, forever);
  const channel = openChannel(t, port);
  const response = await universalClient(channel)({
    url: `http://127.0.0.1:${port}/x`,
    method: "GET",
    header: new Headers(),
  });
  for await (const chunk of response.body) if (chunk.byteLength > 0) break;
  await until(
    () => wire.stats.openStreams === 0,
    () => "the stream is open",
  );
  t.is(channel.stats.streams, 0);
});

test("a transport makes its own channel", async (t) => {
  const { port } = await startWire(t, echoHandler({}));
  const transport = createWireTransport({
    target: { host: "127.0.0.1", port },
    protocol: "grpc",
  });
  t.teardown(() => transport.channel.destroy());
  t.is((await createClient(EchoService, transport).unary({ text: "x" })).text, "x");
  await transport.channel.close();
  await t.throwsAsync(createClient(EchoService, transport).unary({ text: "x" }), {
    message: /closed and takes no more calls/,
  });
});

for (const protocol of protocols) {
  test(`${protocol}: a deadline that passes before the first answer is asked for is told then`, async (t) => {
    const { client } = clientOf(t, await servers["our own"](t), protocol);
    const unhandled: unknown[] = [];
    const listener = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", listener);
    t.teardown(() => process.off("unhandledRejection", listener));
    const requests = createWritableIterable<{ text: string }>();
    const answers = client.bidi(requests, { timeoutMs: 1 })[Symbol.asyncIterator]();
    await t.throwsAsync(async () => {
      for (;;) await requests.write({ text: "a" });
    });
    await new Promise((resolve) => setImmediate(resolve));
    t.deepEqual(unhandled, []);
    const error = await t.throwsAsync(answers.next(), { instanceOf: ConnectError });
    t.is(error?.code, Code.DeadlineExceeded);
  });
}
