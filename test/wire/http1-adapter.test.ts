import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type ExecutionContext } from "ava";
import { answerHttp1 } from "../../server/wire/http1-adapter.ts";

const bytes = Buffer.alloc(32 * 1024 * 1024, "0123456789abcdef");

/** Answers every request with the bytes, in parts of the sizes that are given. */
async function start(t: ExecutionContext, stepTimeoutMs: number, parts: readonly number[]) {
  const slow = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    void answerHttp1(
      request,
      response,
      { address: "127.0.0.1", local: true },
      "http://h/",
      async () => ({
        status: 200,
        body: (async function* () {
          try {
            let at = 0;
            for (const part of parts) {
              yield bytes.subarray(at, at + part);
              at += part;
            }
            yield bytes.subarray(at);
          } finally {
            left.resolve();
          }
        })(),
      }),
      {
        stepTimeoutMs,
        onError: (error) => t.fail(error.message),
        onSlowRead: slow.resolve,
        reserve: () => undefined,
        unreserve() {},
      },
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const sent = get({ port: (server.address() as AddressInfo).port, host: "127.0.0.1" });
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  return { answer, slow: slow.promise, left: left.promise };
}

test("an answer arrives as it was made, whatever parts it comes in", async (t) => {
  for (const parts of [[], [1, 262_144, 262_145, 3_000_000], [5, 0, 7]]) {
    const { answer } = await start(t, 60_000, parts);
    t.true(Buffer.concat(await answer.toArray()).equals(bytes), parts.join());
  }
});

test("an answer that is not taken is given up, and its maker told", async (t) => {
  const { answer, slow, left } = await start(t, 200, []);
  answer.on("error", () => {});
  await Promise.all([slow, left]);
  // What is cut short ends with an error, which once() would throw.
  const closed = new Promise((resolve) => answer.once("close", resolve));
  answer.resume();
  await closed;
  t.false(answer.complete);
});
