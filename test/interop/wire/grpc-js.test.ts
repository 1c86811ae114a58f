import { randomBytes } from "node:crypto";
import { type ServiceError, status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { type GrpcJsClient, grpcJsClient, type Message } from "../../support/grpc-js-client.ts";
import { startIdentity } from "./identity-server.ts";

// @grpc/grpc-js: its HTTP/2 is nghttp2 under node:http2.

/** gzip, as grpc-js numbers it. */
const gzip = 2;

function open(t: ExecutionContext, address: string, options = {}): GrpcJsClient {
  const client = grpcJsClient(address, "inference.GRPCInferenceService", options);
  t.teardown(() => client.close());
  return client;
}

function request(content: Buffer, id = ""): Message {
  return {
    model_name: "identity",
    id,
    inputs: [{ name: "x", datatype: "FP32", shape: [content.length / 4] }],
    raw_input_contents: [content],
  };
}

function isAnswer(answer: Message, content: Buffer): boolean {
  return (answer.raw_output_contents as Buffer[])[0]!.equals(content);
}

test("1000 calls at once on one connection", async (t) => {
  const client = open(t, (await startIdentity(t)).address);
  const contents = Array.from({ length: 1000 }, () => randomBytes(400));
  const answers = await Promise.all(
    contents.map((content) => client.call("ModelInfer", request(content))),
  );
  t.true(answers.every((answer, index) => isAnswer(answer, contents[index]!)));
});

test("more calls at once than the server takes streams", async (t) => {
  const server = await startIdentity(t, "--max-concurrent-streams", "10");
  const client = open(t, server.address);
  const contents = Array.from({ length: 500 }, () => randomBytes(400));
  const answers = await Promise.all(
    contents.map((content) => client.call("ModelInfer", request(content))),
  );
  t.true(answers.every((answer, index) => isAnswer(answer, contents[index]!)));
});

test("16 MiB, three at once", async (t) => {
  const client = open(t, (await startIdentity(t)).address);
  const content = randomBytes(16 * 1024 * 1024);
  const answers = await Promise.all(
    Array.from({ length: 3 }, () => client.call("ModelInfer", request(content))),
  );
  t.true(answers.every((answer) => isAnswer(answer, content)));
});

test("gzip for requests", async (t) => {
  const client = open(t, (await startIdentity(t)).address, {
    "grpc.default_compression_algorithm": gzip,
  });
  for (const bytes of [0, 4, 400_000]) {
    const content = randomBytes(bytes);
    t.true(isAnswer(await client.call("ModelInfer", request(content)), content));
  }
});

test("a stream of 500 requests is answered in order, under both sides' windows", async (t) => {
  const client = open(t, (await startIdentity(t)).address);
  const contents = Array.from({ length: 500 }, (_, index) => randomBytes(4 * (index * 50)));
  const stream = client.stream("ModelStreamInfer");
  for (const [index, content] of contents.entries()) stream.write(request(content, `${index}`));
  stream.end();
  let next = 0;
  for await (const { infer_response } of stream) {
    const answer = infer_response as Message;
    t.is(answer.id, `${next}`);
    t.true(isAnswer(answer, contents[next]!));
    next++;
  }
  t.is(next, 500);
});

test("cancelled and late calls end alone", async (t) => {
  const client = open(t, (await startIdentity(t)).address);
  const large = request(randomBytes(8 * 1024 * 1024));
  const small = randomBytes(400);
  const results = await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const code = (error: ServiceError): number => error.code;
      if (index % 3 === 0) {
        return client.call("ModelInfer", large, { deadlineMs: 2 }).then(() => 0, code);
      }
      if (index % 3 === 1) {
        const { answer, cancel } = client.begin("ModelInfer", large);
        setImmediate(cancel);
        return answer.then(() => 0, code);
      }
      return client
        .call("ModelInfer", request(small))
        .then((answer) => (isAnswer(answer, small) ? -1 : 0), code);
    }),
  );
  t.deepEqual(
    results,
    Array.from(
      { length: 30 },
      (_, index) => [status.DEADLINE_EXCEEDED, status.CANCELLED, -1][index % 3],
    ),
  );
});

test("SIGTERM: GOAWAY lets calls under way end, and the client hears of no error", async (t) => {
  const server = await startIdentity(t);
  const client = open(t, server.address);
  const contents = Array.from({ length: 20 }, () => randomBytes(4 * 1024 * 1024));
  const calls = contents.map((content) => client.call("ModelInfer", request(content)));
  await calls[0];
  server.process.kill("SIGTERM");
  const results = await Promise.allSettled(calls);
  for (const [index, result] of results.entries()) {
    if (result.status === "fulfilled") t.true(isAnswer(result.value, contents[index]!));
    // One that the server had not begun with may be refused, and is not lost without a word.
    else t.is((result.reason as ServiceError).code, status.UNAVAILABLE);
  }
  t.is(await server.ended, 0);
});
