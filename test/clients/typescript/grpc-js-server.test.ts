import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  loadPackageDefinition,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { load } from "@grpc/proto-loader";
import test, { type ExecutionContext } from "ava";
import { createClient, InferenceError, tensor } from "../../../clients/typescript/src/node.ts";

interface WireRequest {
  readonly modelName: string;
  readonly id: string;
  readonly inputs: readonly { name: string; datatype: string; shape: readonly string[] }[];
  readonly rawInputContents: readonly Buffer[];
}

/** Serves the protocol by another implementation of gRPC, from the .proto file. */
async function startGrpcJs(t: ExecutionContext<unknown>) {
  const definition = await load("inference/grpc_service.proto", {
    includeDirs: [fileURLToPath(new URL("../../../proto", import.meta.url))],
    longs: String,
  });
  const { inference } = loadPackageDefinition(definition) as unknown as {
    inference: { GRPCInferenceService: { service: Parameters<Server["addService"]>[0] } };
  };
  const server = new Server();
  server.addService(inference.GRPCInferenceService.service, {
    ModelInfer(call: ServerUnaryCall<WireRequest, unknown>, answer: sendUnaryData<unknown>) {
      const { modelName, id, inputs, rawInputContents } = call.request;
      if (modelName === "typed") {
        const contents = { fp32Contents: [1.5, 2.5] };
        const output = { name: "y", datatype: "FP32", shape: ["2"], contents };
        return answer(null, { modelName, outputs: [output] });
      }
      if (modelName === "missing") {
        return answer({
          code: status.NOT_FOUND,
          details: "no such model",
          metadata: new Metadata(),
        });
      }
      const [key] = call.metadata.get("x-key");
      answer(null, {
        modelName,
        id,
        parameters: { key: { stringParam: key ?? "" } },
        outputs: inputs,
        rawOutputContents: rawInputContents,
      });
    },
    ModelStreamInfer(call: ServerDuplexStream<WireRequest, unknown>) {
      call.on("data", ({ id, inputs, rawInputContents }: WireRequest) => {
        const inferResponse = { id, outputs: inputs, rawOutputContents: rawInputContents };
        call.write({ inferResponse });
      });
      call.on("end", () => call.end());
    },
  });
  t.teardown(() => server.forceShutdown());
  const bind = promisify(server.bindAsync.bind(server));
  const port = await bind("127.0.0.1:0", ServerCredentials.createInsecure());
  const client = createClient(`127.0.0.1:${port}`);
  t.teardown(() => client.close());
  return client;
}

test("grpc-js answers an inference with raw contents, parameters and metadata", async (t) => {
  const client = await startGrpcJs(t);
  const result = await client.infer(
    "echo",
    { x: tensor([2, 1], [1n, -1n]), s: tensor([1], ["é"]) },
    { id: "a", headers: { "x-key": "secret" }, timeoutMs: 10_000 },
  );
  t.like(result, { modelName: "echo", id: "a", parameters: { key: "secret" } });
  t.deepEqual(result.output("x", "INT64").toNested(), [[1n], [-1n]]);
  t.deepEqual(result.output("s", "BYTES").strings(), ["é"]);
});

test("grpc-js answers with typed contents, which read the same", async (t) => {
  const client = await startGrpcJs(t);
  const result = await client.infer("typed", {});
  t.deepEqual(result.output("y", "FP32").data, Float32Array.of(1.5, 2.5));
});

test("grpc-js fails a call with a status, and lacks a method", async (t) => {
  const client = await startGrpcJs(t);
  const missing = await t.throwsAsync(client.infer("missing", {}), { instanceOf: InferenceError });
  t.like(missing, { code: "NOT_FOUND", message: "no such model", reason: undefined });
  t.like(await t.throwsAsync(client.serverLive()), { code: "UNIMPLEMENTED" });
});

test("grpc-js and the client stream in both directions", async (t) => {
  const client = await startGrpcJs(t);
  const requests = [1, 2, 3].map((value) => ({
    model: "echo",
    id: `${value}`,
    inputs: { x: tensor([1], [value], "UINT8") },
  }));
  const answers: unknown[] = [];
  for await (const { id, result } of client.inferStream(requests)) {
    answers.push([id, result?.output("x", "UINT8").data[0]]);
  }
  t.deepEqual(answers, [
    ["1", 1],
    ["2", 2],
    ["3", 3],
  ]);
});
