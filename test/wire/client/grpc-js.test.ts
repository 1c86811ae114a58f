import {
  Client,
  credentials,
  type handleBidiStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { fieldValue } from "../../../server/wire/http2/message-head.ts";
import { until } from "../../support/until.ts";
import { openChannel, startForwarder } from "./start-peers.ts";

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, streams: boolean) => ({
  path: `/test.Raw/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const definition = { Unary: method("Unary", false), Bidi: method("Bidi", true) };

/** A server of @grpc/grpc-js with raw messages, until the test ends. */
async function startGrpcJs(t: ExecutionContext): Promise<number> {
  const server = new Server({ "grpc.max_receive_message_length": -1 });
  const unary: handleUnaryCall<Buffer, Buffer> = (call, answer) => {
    const trailer = new Metadata();
    trailer.set("x-trailer", String(call.metadata.get("x-given")[0] ?? "none"));
    trailer.set("x-bytes-bin", Buffer.from([0, 255]));
    if (call.request.toString() === "hang") return;
    if (call.request.toString() === "fail") {
      answer({ code: status.NOT_FOUND, details: "gone fishing: ü", metadata: trailer });
    } else answer(null, call.request, trailer);
  };
  const bidi: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
    call.on("data", (message: Buffer) => call.write(message));
    call.on("end", () => call.end());
    call.on("error", () => {});
  };
  server.addService(definition, { Unary: unary, Bidi: bidi });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  t.teardown(() => server.forceShutdown());
  return port;
}

/** A client of @grpc/grpc-js through our forwarder to a server of @grpc/grpc-js. */
async function through(t: ExecutionContext) {
  const channel = openChannel(t, await startGrpcJs(t));
  const port = await startForwarder(t, channel);
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
  });
  t.teardown(() => client.close());
  return { client, channel };
}

interface Called {
  readonly error: ServiceError | null;
  readonly message: Buffer | undefined;
  readonly trailer: Metadata | undefined;
}

function callUnary(client: Client, message: Buffer, deadlineMs?: number): Promise<Called> {
  const metadata = new Metadata();
  metadata.set("x-given", "v");
  return new Promise((resolve) => {
    let trailer: Metadata | undefined;
    const call = client.makeUnaryRequest(
      definition.Unary.path,
      same,
      same,
      message,
      metadata,
      deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
      (error, answer) => setImmediate(() => resolve({ error, message: answer, trailer })),
    );
    call.on("status", (ended) => {
      trailer = ended.metadata;
    });
  });
}

test("our client calls a server of grpc-js", async (t) => {
  const channel = openChannel(t, await startGrpcJs(t));
  for (const size of [0, 100, 3_000_000]) {
    const message = Buffer.alloc(size, 7);
    const answer = await channel.callUnary(definition.Unary.path, message, {
      fields: [["x-given", "v"]],
      deadlineMs: 20_000,
    });
    t.is(answer.status.code, 0);
    t.true(answer.message?.equals(message));
    t.is(fieldValue(answer.trailers, "x-trailer"), "v");
  }
  const failed = await channel.callUnary(definition.Unary.path, Buffer.from("fail"));
  t.deepEqual(failed.status, { code: status.NOT_FOUND, message: "gone fishing: ü" });
  t.is(channel.stats.connections, 1);
});

test("grpc-js to grpc-js through the forwarder: unary calls", async (t) => {
  const { client } = await through(t);
  for (const size of [0, 100, 3_000_000]) {
    const message = Buffer.alloc(size, 9);
    const answer = await callUnary(client, message);
    t.is(answer.error, null);
    t.true(answer.message?.equals(message));
    t.deepEqual(answer.trailer?.get("x-trailer"), ["v"]);
    t.deepEqual(answer.trailer?.get("x-bytes-bin"), [Buffer.from([0, 255])]);
  }
  const failed = await callUnary(client, Buffer.from("fail"));
  t.is(failed.error?.code, status.NOT_FOUND);
  t.is(failed.error?.details, "gone fishing: ü");
  const late = await callUnary(client, Buffer.from("hang"), 200);
  t.is(late.error?.code, status.DEADLINE_EXCEEDED);
});

test("grpc-js to grpc-js through the forwarder: streams, and a cancel", async (t) => {
  const { client, channel } = await through(t);
  const call = client.makeBidiStreamRequest(definition.Bidi.path, same, same);
  const received: string[] = [];
  call.on("data", (message: Buffer) => {
    received.push(message.toString());
    if (received.length < 5) call.write(Buffer.from(`${received.length}`));
    else call.end();
  });
  call.write(Buffer.from("0"));
  const ended = await new Promise<{ code: number }>((resolve) => call.on("status", resolve));
  t.is(ended.code, status.OK);
  t.deepEqual(received, ["0", "1", "2", "3", "4"]);

  const cancelled = client.makeBidiStreamRequest(definition.Bidi.path, same, same);
  cancelled.on("error", () => {});
  cancelled.write(Buffer.from("x"));
  cancelled.once("data", () => cancelled.cancel());
  const end = await new Promise<{ code: number }>((resolve) => cancelled.on("status", resolve));
  t.is(end.code, status.CANCELLED);
  await until(
    () => channel.stats.streams === 0,
    () => `${channel.stats.streams} streams are open`,
  );
});
