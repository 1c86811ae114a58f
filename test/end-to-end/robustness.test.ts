import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import test from "ava";
import fc from "fast-check";
import { type RunningServer, startServer } from "../support/command.ts";
import { fp32Request, grpcJsClient } from "../support/grpc-js-client.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));

let server: RunningServer;
const teardowns: (() => void | Promise<void>)[] = [];
test.before(async () => {
  server = await startServer({ teardown: (end) => teardowns.push(end as () => void) }, [
    fixtures,
    "--handshake-timeout",
    "500ms",
    "--log-level",
    "error",
  ]);
});
test.after.always(async () => {
  for (const end of teardowns) await end();
});

/** Sends bytes and resolves when the server has closed the connection or answered. */
function send(bytes: Uint8Array): Promise<void> {
  const [host, port] = server.address.split(":") as [string, string];
  return new Promise((resolve) => {
    const socket = connect(Number(port), host);
    const done = (): void => {
      socket.destroy();
      resolve();
    };
    socket.once("data", done).once("close", done).once("error", done);
    socket.write(bytes);
  });
}

async function stillAnswers(): Promise<boolean> {
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  try {
    const answer = await client.call(
      "ModelInfer",
      fp32Request("scalar", "x", [], Float32Array.of(21)),
    );
    return (answer.raw_output_contents as Buffer[])[0]!.readFloatLE() === 42;
  } finally {
    client.close();
  }
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

test.serial(
  "garbage, also behind an HTTP/2 preface or in an HTTP/1.1 request, ends its own connection only",
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        fc.constantFrom(
          Buffer.alloc(0),
          preface,
          Buffer.from(
            "POST /v2/models/scalar/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n",
          ),
        ),
        async (garbage, before) => {
          await send(Buffer.concat([before, garbage]));
        },
      ),
      { numRuns: 60, endOnFailure: true },
    );
    t.true(await stillAnswers());
  },
);

test.serial("random gRPC bodies are answered with a status and the server goes on", async (t) => {
  const session = connectHttp2(server.url);
  t.teardown(() => session.close());
  const call = (body: Uint8Array): Promise<string> =>
    new Promise((resolve) => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        "content-type": "application/grpc",
        te: "trailers",
      });
      let status = "";
      stream.on("response", (headers) => {
        status = String(headers["grpc-status"] ?? "");
      });
      stream.on("trailers", (headers) => {
        status = String(headers["grpc-status"] ?? status);
      });
      stream.on("error", () => {});
      stream.on("close", () => resolve(status));
      stream.resume();
      stream.end(body);
    });
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => {
      const framed = new Uint8Array(5 + bytes.length);
      new DataView(framed.buffer).setUint32(1, bytes.length);
      framed.set(bytes, 5);
      return framed;
    }),
  );
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(message, async (body) => Number(await call(body)) > 0),
      { numRuns: 200 },
    ),
  );
  t.true(await stillAnswers());
});

test.serial("random JSON bodies are refused with a reason and the server goes on", async (t) => {
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc
            .record({
              inputs: fc.array(
                fc.record({
                  name: fc.constantFrom("x", "y"),
                  datatype: fc.constantFrom("FP32", "INT8", "BYTES"),
                  shape: fc.array(fc.integer({ min: -1, max: 3 }), { maxLength: 3 }),
                  data: fc.anything({ maxDepth: 3 }),
                }),
                { maxLength: 2 },
              ),
            })
            .map((value) => JSON.stringify(value) ?? ""),
        ),
        async (body) => {
          const response = await fetch(`${server.url}/v2/models/identity_fp32/infer`, {
            method: "POST",
            body,
          });
          const answer = (await response.json()) as { reason?: string; outputs?: unknown };
          return response.status === 200
            ? answer.outputs !== undefined
            : response.status < 500 && typeof answer.reason === "string";
        },
      ),
      { numRuns: 300 },
    ),
  );
  t.true(await stillAnswers());
});

test.serial("a nesting of 100 000 brackets is refused", async (t) => {
  const data = "[".repeat(100_000) + "]".repeat(100_000);
  const response = await fetch(`${server.url}/v2/models/identity_fp32/infer`, {
    method: "POST",
    body: `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":${data}}]}`,
  });
  t.is(response.status, 400);
  const v1 = await fetch(`${server.url}/v1/models/identity_fp32:predict`, {
    method: "POST",
    body: `{"instances":${data}}`,
  });
  t.is(v1.status, 400);
  t.true(await stillAnswers());
});

test.serial("a connection that says nothing is closed after the handshake timeout", async (t) => {
  const [host, port] = server.address.split(":") as [string, string];
  const socket = connect(Number(port), host);
  await new Promise((resolve) => socket.once("close", resolve));
  t.true(socket.destroyed);
  t.true(await stillAnswers());
});

test.serial("callers that vanish leave nothing behind", async (t) => {
  const begun = Array.from({ length: 30 }, () => {
    const session = connectHttp2(server.url);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.GRPCInferenceService/ModelInfer",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    stream.write(Buffer.from([0, 0, 0, 1, 0, 1, 2, 3]));
    return new Promise<void>((resolve) => {
      session.once("connect", () => {
        session.destroy();
        resolve();
      });
    });
  });
  await Promise.all(begun);
  // The metrics answer on a connection of their own, so one is open while they are read.
  let open = Number.POSITIVE_INFINITY;
  while (open > 1) {
    const metrics = await (
      await fetch(`${server.url}/metrics`, { headers: { connection: "close" } })
    ).text();
    open = Number(/^tensorwire_open_connections (\d+)$/m.exec(metrics)?.[1]);
  }
  t.is(open, 1);
  t.true(await stillAnswers());
});
