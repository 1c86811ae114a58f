import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type ServiceError, status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { readExpectations, sameContents } from "../support/expected-tensors.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../support/grpc-js-client.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));
const examples = fileURLToPath(new URL("../../examples/models", import.meta.url));
const service = "inference.GRPCInferenceService";

let server: RunningServer;
const teardowns: (() => void | Promise<void>)[] = [];
test.before(async () => {
  server = await startServer({ teardown: (end) => teardowns.push(end as () => void) }, [
    fixtures,
    "--max-message-size",
    "1MiB",
  ]);
});
test.after.always(async () => {
  for (const end of teardowns) await end();
});

function connect(t: ExecutionContext, name = service): GrpcJsClient {
  const client = grpcJsClient(server.address, name);
  t.teardown(() => client.close());
  return client;
}

async function failure(t: ExecutionContext, answer: Promise<Message>): Promise<ServiceError> {
  const error = await t.throwsAsync(answer);
  return error as unknown as ServiceError;
}

test("every fixture answers grpc-js as ONNX Runtime in Python does", async (t) => {
  const client = connect(t);
  for (const { model, inputs, outputs } of readExpectations()) {
    const answer = await client.call("ModelInfer", {
      model_name: model,
      inputs: [...inputs].map(([name, { datatype, shape }]) => ({ name, datatype, shape })),
      raw_input_contents: [...inputs.values()].map(({ raw }) => raw),
    });
    const raw = answer.raw_output_contents as Buffer[];
    t.is(raw.length, outputs.size);
    for (const [index, expected] of [...outputs.values()].entries())
      t.true(sameContents(expected.datatype, raw[index]!, expected.raw), model);
  }
});

test("the example models answer as their samples say, typed and raw", async (t) => {
  const example = await startServer(t, [examples]);
  const client = grpcJsClient(example.address, service);
  t.teardown(() => client.close());
  const samples = JSON.parse(readFileSync(`${examples}/samples.json`, "utf8")) as Record<
    string,
    Record<
      "inputs" | "outputs",
      Record<string, { shape: number[]; datatype: string; data: number[] }>
    >
  >;
  for (const [model, { inputs, outputs }] of Object.entries(samples)) {
    const [[input, { shape, data }]] = Object.entries(inputs) as unknown as [
      [string, { shape: number[]; data: number[] }],
    ];
    const typed = await client.call("ModelInfer", {
      model_name: model,
      inputs: [{ name: input, datatype: "FP32", shape, contents: { fp32_contents: data } }],
    });
    for (const { name, datatype, contents } of typed.outputs as {
      name: string;
      datatype: string;
      contents: Record<string, (number | string)[]>;
    }[]) {
      const given =
        contents[datatype === "INT64" ? "int64_contents" : "fp32_contents"]!.map(Number);
      const expected = outputs[name]!.data;
      t.is(given.length, expected.length);
      t.true(
        given.every(
          (value, index) =>
            Math.abs(value - expected[index]!) <= 1e-5 * Math.max(1, Math.abs(expected[index]!)),
        ),
        `${model} ${name}`,
      );
    }
    const raw = await client.call(
      "ModelInfer",
      fp32Request(model, input, shape, Float32Array.from(data)),
    );
    t.is((raw.raw_output_contents as Buffer[]).length, Object.keys(outputs).length);
  }
});

test("a stream answers in order, and a request that fails does not end it", async (t) => {
  const stream = connect(t).stream("ModelStreamInfer");
  for (let index = 0; index < 6; index++) {
    stream.write({
      ...fp32Request(index === 3 ? "nope" : "scalar", "x", [], Float32Array.of(index)),
      id: String(index),
    });
  }
  stream.end();
  const answers: string[] = [];
  for await (const { error_message, infer_response } of stream) {
    const { id, raw_output_contents } = infer_response as {
      id: string;
      raw_output_contents: Buffer[];
    };
    answers.push(
      error_message === ""
        ? `${id}: ${raw_output_contents[0]!.readFloatLE()}`
        : `${id}: ${error_message}`,
    );
  }
  t.deepEqual(
    answers.map((text) => text.slice(0, 20)),
    ["0: 0", "1: 2", "2: 4", '3: model "nope" is n', "4: 8", "5: 10"],
  );
});

test("an error has its code, its message, and its reason in the details", async (t) => {
  const error = await failure(
    t,
    connect(t).call("ModelInfer", fp32Request("scalar", "x", [2], new Float32Array(2))),
  );
  t.is(error.code, status.INVALID_ARGUMENT);
  t.regex(error.details, /expected shape \[\], got \[2\]/);
  t.true(String(error.metadata.get("grpc-status-details-bin")[0]).includes("SHAPE_MISMATCH"));
});

test("a method and a service that are not served are UNIMPLEMENTED", async (t) => {
  const client = connect(t);
  const error = await failure(t, client.call("CudaSharedMemoryStatus", {}));
  t.is(error.code, status.UNIMPLEMENTED);
  t.regex(error.details, /CudaSharedMemoryStatus is not served/);
});

test("a message above the limit is RESOURCE_EXHAUSTED with the limit, and the connection goes on", async (t) => {
  const client = connect(t);
  const error = await failure(
    t,
    client.call(
      "ModelInfer",
      fp32Request("identity_fp32", "x", [1, 400_000], new Float32Array(400_000)),
    ),
  );
  t.is(error.code, status.RESOURCE_EXHAUSTED);
  t.regex(error.details, /1048576/);
  t.regex(error.details, /--max-message-size/);
  const answer = await client.call(
    "ModelInfer",
    fp32Request("scalar", "x", [], Float32Array.of(2)),
  );
  t.is((answer.raw_output_contents as Buffer[])[0]!.readFloatLE(), 4);
});

const slowRequest = (rounds: bigint): Message => ({
  model_name: "slow",
  inputs: [{ name: "rounds", datatype: "INT64", shape: [] }],
  raw_input_contents: [Buffer.from(BigInt64Array.of(rounds).buffer)],
});

test("a deadline holds in the model and in its queue", async (t) => {
  const client = connect(t);
  const calls = Array.from({ length: 4 }, () =>
    failure(t, client.call("ModelInfer", slowRequest(2000n), { deadlineMs: 150 })),
  );
  for (const error of await Promise.all(calls)) t.is(error.code, status.DEADLINE_EXCEEDED);
});

test("a cancelled call is CANCELLED and leaves the queue", async (t) => {
  const client = connect(t);
  const running = client.call("ModelInfer", slowRequest(300n));
  const cancelled = client.begin("ModelInfer", slowRequest(300n));
  cancelled.cancel();
  const error = await failure(t, cancelled.answer);
  t.is(error.code, status.CANCELLED);
  await running;
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  t.regex(metrics, /nv_inference_pending_request_count\{model="slow",version="1"\} 0/);
});

test.serial(
  "health is told for the server and for each model, and a watch sees a model go and come",
  async (t) => {
    const health = connect(t, "grpc.health.v1.Health");
    t.is((await health.call("Check", { service: "" })).status, "SERVING");
    t.is((await health.call("Check", { service: "fixed" })).status, "SERVING");
    t.is((await failure(t, health.call("Check", { service: "nope" }))).code, status.NOT_FOUND);
    t.true("fixed" in ((await health.call("List", {})).statuses as object));
    const watched: string[] = [];
    const client = connect(t);
    for await (const { status: state } of health.serverStream("Watch", { service: "fixed" })) {
      watched.push(state as string);
      if (watched.length === 1) await client.call("RepositoryModelUnload", { model_name: "fixed" });
      if (watched.length === 2) await client.call("RepositoryModelLoad", { model_name: "fixed" });
      if (watched.length === 3) break;
    }
    t.deepEqual(watched, ["SERVING", "NOT_SERVING", "SERVING"]);
  },
);
