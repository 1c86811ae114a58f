import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { findTool, runTool } from "../support/tools.ts";

const examples = fileURLToPath(new URL("../../examples/models", import.meta.url));
const grpcurl = findTool("grpcurl");
const maybe = grpcurl ? test : test.skip;

maybe("grpcurl works from reflection alone: list, describe, infer, health", async (t) => {
  const server = await startServer(t, [examples]);
  const call = async (...args: string[]): Promise<string> => {
    const { code, output } = await runTool(grpcurl!, ["-plaintext", ...args]);
    t.is(code, 0, output);
    return output;
  };
  const services = (await call(server.address, "list")).trim().split("\n");
  t.deepEqual(services, [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
  ]);
  t.regex(
    await call(server.address, "describe", "inference.ModelInferRequest.InferInputTensor"),
    /repeated int64 shape = 3/,
  );
  t.regex(await call(server.address, "describe", "inference.ModelConfig"), /dynamic_batching = 11/);
  const request = JSON.stringify({
    model_name: "iris",
    id: "g",
    inputs: [
      {
        name: "input",
        datatype: "FP32",
        shape: [1, 4],
        contents: { fp32_contents: [5.1, 3.5, 1.4, 0.2] },
      },
    ],
  });
  const answer = JSON.parse(
    await call("-d", request, server.address, "inference.GRPCInferenceService/ModelInfer"),
  );
  t.is(answer.id, "g");
  t.deepEqual(answer.outputs[0].contents.int64Contents, ["0"]);
  t.is(
    JSON.parse(
      await call("-d", '{"service":"iris"}', server.address, "grpc.health.v1.Health/Check"),
    ).status,
    "SERVING",
  );
});

maybe("grpcurl shows the code, message and details of an error", async (t) => {
  const server = await startServer(t, [examples]);
  const { code, output } = await runTool(grpcurl!, [
    "-plaintext",
    "-d",
    '{"model_name":"nope"}',
    server.address,
    "inference.GRPCInferenceService/ModelInfer",
  ]);
  t.not(code, 0);
  t.regex(output, /Code: NotFound/);
  t.regex(output, /model "nope" is not in the repository/);
  t.regex(output, /MODEL_NOT_FOUND/);
});

maybe("the grpcurl line of the start-up screen works as it is printed", async (t) => {
  const server = await startServer(t, [examples]);
  const line = server
    .stdout()
    .split("\n")
    .find((text) => text.includes("grpcurl"))!
    .trim();
  const { code, output } = await runTool("/bin/sh", ["-c", line.replace(/^grpcurl/, grpcurl!)]);
  t.is(code, 0, output);
  t.truthy(JSON.parse(output).outputs[0].name);
});
