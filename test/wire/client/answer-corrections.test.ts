import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import test, { type ExecutionContext } from "ava";
import {
  createWireTransport,
  type WireTransportOptions,
} from "../../../server/wire/client/wire-transport.ts";
import { chunks, startWire } from "../start-wire.ts";
import { EchoService } from "./echo-service.ts";
import { openChannel } from "./start-peers.ts";

async function clientOf(
  t: ExecutionContext,
  protocol: WireTransportOptions["protocol"],
  answer: UniversalServerResponse,
) {
  const { port } = await startWire(t, async () => answer);
  const channel = openChannel(t, port);
  return createClient(EchoService, createWireTransport({ channel, protocol }));
}

for (const [name, protocol, answer] of [
  [
    "a message of gRPC that is cut",
    "grpc",
    {
      header: { "content-type": "application/grpc+proto" },
      body: [0, 0, 0, 0, 9, 1],
      trailer: { "grpc-status": "0" },
    },
  ],
  [
    "a prefix of gRPC that is cut",
    "grpc",
    {
      header: { "content-type": "application/grpc+proto" },
      body: [0, 0],
      trailer: { "grpc-status": "0" },
    },
  ],
  [
    "a stream of Connect without its end",
    "connect",
    {
      header: { "content-type": "application/connect+proto" },
      body: [0, 0, 0, 0, 0],
      trailer: {},
    },
  ],
] as const) {
  test(`${name} is INTERNAL`, async (t) => {
    const client = await clientOf(t, protocol, {
      status: 200,
      header: new Headers(answer.header),
      body: chunks(Buffer.from(answer.body)),
      trailer: new Headers(answer.trailer),
    });
    const error = await t.throwsAsync(Array.fromAsync(client.serverStream({ text: "x" })), {
      instanceOf: ConnectError,
      message: /protocol error/,
    });
    t.is(error.code, Code.Internal);
  });
}

test("the same words of a server stay as they are", async (t) => {
  const client = await clientOf(t, "grpc", {
    status: 200,
    header: new Headers({ "content-type": "application/grpc+proto" }),
    body: chunks(),
    trailer: new Headers({
      "grpc-status": "3",
      "grpc-message": "protocol error: incomplete envelope",
    }),
  });
  const error = await t.throwsAsync(Array.fromAsync(client.serverStream({ text: "x" })), {
    instanceOf: ConnectError,
  });
  t.is(error.code, Code.InvalidArgument);
});

test("trailers of gRPC-Web in the head of a stream without a message are trailers", async (t) => {
  const client = await clientOf(t, "grpc-web", {
    status: 200,
    header: new Headers({
      "content-type": "application/grpc-web+proto",
      "grpc-status": "0",
      "x-trailer": "t",
    }),
  });
  let trailer: Headers | undefined;
  const messages = client.serverStream(
    { text: "x" },
    {
      onTrailer: (headers) => {
        trailer = headers;
      },
    },
  );
  t.deepEqual(await Array.fromAsync(messages), []);
  t.is(trailer?.get("x-trailer"), "t");
});
