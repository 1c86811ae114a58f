import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { findTool, runTool } from "../../support/tools.ts";
import { tlsFlags } from "./certificates.ts";
import { startIdentity } from "./identity-server.ts";

// nghttp and h2load of nghttp2.

const nghttp = findTool("nghttp");
const h2load = findTool("h2load");

/** Runs nghttp, which tells all frames, and gives what it says. */
async function frames(t: ExecutionContext, ...args: string[]): Promise<string> {
  const { code, output } = await runTool(nghttp!, [
    ...["--no-dep", "--null-out", "--verbose", "--timeout=20s", ...args],
  ]);
  t.is(code, 0, output);
  const wrong = /error_code=(?!NO_ERROR)\S*|\[ERROR\].*|Some requests were not processed.*/.exec(
    output,
  );
  t.is(wrong?.[0], undefined);
  return output;
}

const statuses = (output: string): number => output.match(/:status: 200/g)?.length ?? 0;

const variants: Readonly<Record<string, readonly string[]>> = {
  "as it is": [],
  "padded frames": ["--padding=255"],
  "windows of 1 KiB": ["--window-bits=10", "--connection-window-bits=16"],
  "a header table of 0 bytes": ["--header-table-size=0"],
  "a header table of its own size, and smaller": ["--encoder-header-table-size=128"],
  "100 times": ["--multiply=100"],
  continuation: ["--continuation"],
  "no server push": ["--no-push"],
};

for (const [name, args] of Object.entries(variants)) {
  (nghttp ? test : test.skip)(`nghttp: ${name}`, async (t) => {
    const server = await startIdentity(t);
    const output = await frames(t, ...args, `${server.url}/v2/models/identity`);
    t.is(statuses(output), name === "100 times" ? 100 : 1);
  });
}

(nghttp ? test : test.skip)("nghttp: 4 MB are uploaded, through small windows back", async (t) => {
  const server = await startIdentity(t);
  const folder = await temporaryFolder(t);
  const file = join(folder, "body");
  const data = Array.from({ length: 500_000 }, (_, index) => index % 100);
  const inputs = [{ name: "x", datatype: "FP32", shape: [data.length], data }];
  await writeFile(file, JSON.stringify({ inputs }));
  const output = await frames(
    t,
    ...[
      ...[`--data=${file}`, "--window-bits=14", "--padding=100"],
      `${server.url}/v2/models/identity/infer`,
    ],
  );
  t.is(statuses(output), 1);
});

(nghttp ? test : test.skip)("nghttp over TLS agrees on h2", async (t) => {
  const server = await startIdentity(t, ...tlsFlags);
  const url = `${server.url.replace("127.0.0.1", "localhost")}/v2/models/identity`;
  const output = await frames(t, "--multiply=10", url);
  t.regex(output, /The negotiated protocol: h2/);
  t.is(statuses(output), 10);
});

for (const [name, flags] of [
  ["cleartext", []],
  ["TLS", tlsFlags],
] as const) {
  (h2load ? test : test.skip)(
    `h2load over ${name}: 20 000 calls of gRPC on 8 connections, 32 at once on each`,
    async (t) => {
      const server = await startIdentity(t, ...flags);
      const folder = await temporaryFolder(t);
      const file = join(folder, "body");
      const message = toBinary(
        ModelInferRequestSchema,
        create(ModelInferRequestSchema, {
          modelName: "identity",
          inputs: [{ name: "x", datatype: "FP32", shape: [64n] }],
          rawInputContents: [new Uint8Array(256).fill(1)],
        }),
      );
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      await writeFile(file, Buffer.concat([prefix, message]));
      const { code, output } = await runTool(h2load!, [
        ...["--requests=20000", "--clients=8", "--max-concurrent-streams=32"],
        ...[`--data=${file}`, "--header=content-type: application/grpc", "--header=te: trailers"],
        `${server.url}/inference.GRPCInferenceService/ModelInfer`,
      ]);
      t.is(code, 0, output);
      t.regex(output, /20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed/);
      // Each answer holds the 256 bytes: an error has none.
      const bytes = Number(/\((\d+)\) data/.exec(output)?.[1]);
      t.true(bytes > 20_000 * 256, output);
    },
  );
}
