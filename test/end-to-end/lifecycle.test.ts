import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ServiceError, status } from "@grpc/grpc-js";
import test from "ava";
import { startCommand, startServer } from "../support/command.ts";
import { grpcJsClient, type Message } from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));
const broken = fileURLToPath(new URL("../fixtures/broken", import.meta.url));
const service = "inference.GRPCInferenceService";

const slowRequest = (rounds: bigint): Message => ({
  model_name: "slow",
  inputs: [{ name: "rounds", datatype: "INT64", shape: [] }],
  raw_input_contents: [Buffer.from(BigInt64Array.of(rounds).buffer)],
});

/** Resolves when the metrics show that the slow model has a call. */
async function slowIsRunning(url: string): Promise<void> {
  for (;;) {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    if (/tensorwire_model_running_requests\{model="slow",version="1"\} [1-9]/.test(metrics)) return;
  }
}

test("SIGTERM: the call in flight is answered, a new one is UNAVAILABLE, the exit code is 0", async (t) => {
  const server = await startServer(t, [fixtures]);
  const client = grpcJsClient(server.address, service);
  t.teardown(() => client.close());
  const inFlight = client.call("ModelInfer", slowRequest(400n));
  await slowIsRunning(server.url);
  server.process.kill("SIGTERM");
  // The first refusal shows that the drain has begun; a call before it may still be answered.
  let refusal: ServiceError | undefined;
  while (!refusal) {
    await client.call("ModelReady", { name: "slow" }).catch((error: ServiceError) => {
      refusal = error;
    });
  }
  t.is(refusal.code, status.UNAVAILABLE);
  const answer = await inFlight;
  t.is((answer.raw_output_contents as Buffer[]).length, 1);
  t.is(await server.ended, 0);
});

test("SIGTERM: a stream that waits for its next request is ended, and does not hold up the drain", async (t) => {
  const server = await startServer(t, [fixtures]);
  const client = grpcJsClient(server.address, service);
  t.teardown(() => client.close());
  const stream = client.stream("ModelStreamInfer");
  stream.write({
    model_name: "scalar",
    inputs: [{ name: "x", datatype: "FP32", shape: [] }],
    raw_input_contents: [Buffer.alloc(4)],
  });
  const answers: string[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const { error_message } of stream) {
      answers.push(error_message as string);
      server.process.kill("SIGTERM");
    }
  });
  t.is((error as unknown as ServiceError).code, status.UNAVAILABLE);
  t.deepEqual(answers, [""]);
  t.is(await server.ended, 0);
});

test("with a drain delay the server is not ready and still answers until it has passed", async (t) => {
  const server = await startServer(t, [fixtures, "--drain-delay", "3s"]);
  server.process.kill("SIGTERM");
  let ready = 200;
  while (ready === 200) ready = (await fetch(`${server.url}/health/ready`)).status;
  t.is(ready, 503);
  t.is((await fetch(`${server.url}/v2/models/scalar`)).status, 200);
  t.is(await server.ended, 0);
});

test("a call that outlasts the drain timeout ends the server with exit code 5", async (t) => {
  const server = await startServer(t, [fixtures, "--drain-timeout", "200ms"]);
  const client = grpcJsClient(server.address, service);
  t.teardown(() => client.close());
  const inFlight = client
    .call("ModelInfer", slowRequest(100_000n))
    .catch((error: ServiceError) => error.code);
  await slowIsRunning(server.url);
  server.process.kill("SIGTERM");
  t.is(await server.ended, 5);
  t.is(await inFlight, status.UNAVAILABLE);
});

test("a wrong setting is refused by name with exit code 2, all of them at once", async (t) => {
  const command = startCommand(
    t,
    ["serve", fixtures, "--prot", "9000", "--max-queue-size", "many"],
    { TENSORWIRE_LOG_LEVEL: "loud" },
  );
  t.is(await command.ended, 2);
  for (const part of [
    /--prot.*did you mean --port/,
    /--max-queue-size/,
    /many/,
    /TENSORWIRE_LOG_LEVEL/,
    /loud/,
  ])
    t.regex(command.stderr(), part);
});

test("a port in use is exit code 3, with the address", async (t) => {
  const holder = createServer().listen(0, "127.0.0.1");
  t.teardown(() => holder.close());
  await new Promise((resolve) => holder.once("listening", resolve));
  const { port } = holder.address() as { port: number };
  const command = startCommand(t, ["serve", fixtures, "--port", String(port)]);
  t.is(await command.ended, 3);
  t.regex(command.stderr(), new RegExp(`127\\.0\\.0\\.1:${port}`));
});

test("a repository that is not there is exit code 4", async (t) => {
  const command = startCommand(t, ["serve", "/nowhere/at/all", "--port", "0"]);
  t.is(await command.ended, 4);
  t.regex(command.stderr(), /nowhere/);
});

test("a model that fails does not stop the server and shows on the start-up screen; --exit-on-error ends with 4", async (t) => {
  const server = await startServer(t, [broken]);
  t.is((await fetch(`${server.url}/v2/models/good/ready`)).status, 200);
  t.is((await fetch(`${server.url}/v2/models/corrupt/ready`)).status, 503);
  for (const name of ["corrupt", "bad_syntax", "no_file", "sequence_output", "wrong_datatype"])
    t.regex(server.stdout(), new RegExp(name));
  const strict = startCommand(t, ["serve", broken, "--port", "0", "--exit-on-error"]);
  t.is(await strict.ended, 4);
});

test("a unix socket answers, and is removed at the end", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const path = join(folder, "server.sock");
  const server = await startServer(t, [folder, "--model-name", "adder", "--unix", path]);
  const client = grpcJsClient(`unix:${path}`, service);
  t.teardown(() => client.close());
  t.is((await client.call("ModelMetadata", { name: "adder" })).name, "adder");
  server.process.kill("SIGTERM");
  t.is(await server.ended, 0);
});

test("settings come from variables and a file too, and a Kubernetes service link is no setting", async (t) => {
  const folder = await temporaryFolder(t, {
    "settings.yaml": "model-name: from-file\nlog-level: error\n",
    "model.onnx": addModel(1),
  });
  const server = await startServer(t, [folder, "--config", join(folder, "settings.yaml")], {
    TENSORWIRE_MODEL_NAME: "from-variable",
    TENSORWIRE_PORT: "tcp://10.0.0.1:80",
    TENSORWIRE_SERVICE_HOST: "10.0.0.1",
  });
  t.is((await fetch(`${server.url}/v2/models/from-variable`)).status, 200);
  t.is(server.stderr(), "");
});
