import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import test from "ava";
import { createClient, InferenceError, tensor } from "../../../clients/typescript/src/web.ts";
import { modelNotFound } from "../../../server/errors/model-errors.ts";
import { toConnectError } from "../../../server/rpc/connect-errors.ts";
import { type FakeService, startFakeWebServer } from "./fake-server.ts";

const echo: FakeService = {
  modelInfer: ({ modelName, inputs, rawInputContents }, { requestHeader }) => {
    if (modelName !== "m") throw toConnectError(modelNotFound(modelName));
    return {
      modelName,
      parameters: {
        contentType: {
          parameterChoice: { case: "stringParam", value: requestHeader.get("content-type") ?? "" },
        },
      },
      outputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
      rawOutputContents: rawInputContents,
    };
  },
};

const contentTypes = { "grpc-web": "application/grpc-web+proto", connect: "application/proto" };

for (const protocol of ["grpc-web", "connect"] as const) {
  test(`the browser client infers and reads errors over ${protocol}`, async (t) => {
    const client = createClient(`http://127.0.0.1:${await startFakeWebServer(t, echo)}`, {
      protocol,
    });
    const result = await client.infer("m", { x: tensor([2], [1, 2]) });
    t.deepEqual(result.output("x", "FP32").data, Float32Array.of(1, 2));
    t.is(result.parameters.contentType, contentTypes[protocol]);
    const error = await t.throwsAsync(client.infer("none", {}), { instanceOf: InferenceError });
    t.like(error, { code: "NOT_FOUND", reason: "MODEL_NOT_FOUND", metadata: { model: "none" } });
  });
}

test("a deadline, a signal and close end calls of the browser client", async (t) => {
  let arrived = Promise.withResolvers<void>();
  const port = await startFakeWebServer(t, {
    modelInfer: async (_request, { signal }) => {
      arrived.resolve();
      await once(signal, "abort");
      throw new ConnectError("aborted", Code.Canceled);
    },
  });
  const client = createClient(`http://127.0.0.1:${port}`);
  const late = await t.throwsAsync(client.infer("m", {}, { timeoutMs: 200 }));
  t.like(late, { code: "DEADLINE_EXCEEDED", message: "no answer within 200 ms" });

  arrived = Promise.withResolvers();
  const controller = new AbortController();
  const cancelled = t.throwsAsync(client.infer("m", {}, { signal: controller.signal }));
  await arrived.promise;
  controller.abort();
  t.like(await cancelled, { code: "CANCELLED" });

  arrived = Promise.withResolvers();
  const closed = t.throwsAsync(client.infer("m", {}));
  await arrived.promise;
  client.close();
  t.like(await closed, { code: "CANCELLED" });
});

test("a server that is away is UNAVAILABLE, and the message speaks of CORS too", async (t) => {
  const blocker = createServer().listen(0, "127.0.0.1");
  await once(blocker, "listening");
  const { port } = blocker.address() as AddressInfo;
  blocker.close();
  await once(blocker, "close");
  let tries = 0;
  const client = createClient(`http://127.0.0.1:${port}`, {
    headers: () => {
      tries++;
      return {};
    },
    retry: { initialDelayMs: 1 },
  });
  const error = await t.throwsAsync(client.infer("m", {}), { instanceOf: InferenceError });
  t.is(error?.code, "UNAVAILABLE");
  t.regex(error?.message ?? "", /^cannot reach http:\/\/127.*CORS/);
  // fetch does not tell whether the request was sent.
  t.is(tries, 1);
  await t.throwsAsync(client.serverLive(), { instanceOf: InferenceError });
  t.is(tries, 5);
});

test("the browser client refuses what browsers cannot do", async (t) => {
  t.throws(() => createClient("", { protocol: "grpc" as never }), {
    message: /"protocol": got grpc, expected grpc-web or connect; browsers cannot speak gRPC/,
  });
  t.throws(() => createClient("localhost:8080"), { message: /"baseUrl": got "localhost:8080"/ });
  const stream = createClient("http://localhost").inferStream([]);
  const next = stream[Symbol.asyncIterator]().next();
  t.like(await t.throwsAsync(next), { code: "UNIMPLEMENTED", reason: "RPC_UNSUPPORTED" });
});

test("the browser client imports nothing of Node", async (t) => {
  const packages = new Set<string>();
  const seen = new Set<string>();
  async function walk(file: URL): Promise<void> {
    if (seen.has(file.href)) return;
    seen.add(file.href);
    const source = await readFile(file, "utf8");
    for (const [, specifier] of source.matchAll(/^(?:import|export)\b[^;]*?\bfrom "([^"]+)";/gm)) {
      if (specifier!.startsWith(".")) await walk(new URL(specifier!, file));
      else packages.add(specifier!);
    }
  }
  await walk(new URL("../../../clients/typescript/src/web.ts", import.meta.url));
  t.true(seen.size > 20);
  t.deepEqual([...packages].sort(), [
    "@bufbuild/protobuf",
    "@bufbuild/protobuf/codegenv2",
    "@bufbuild/protobuf/wkt",
    "@connectrpc/connect",
    "@connectrpc/connect-web",
  ]);
});
