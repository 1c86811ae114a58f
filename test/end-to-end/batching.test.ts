import test, { type ExecutionContext } from "ava";
import { startServer } from "../support/command.ts";
import { type GrpcJsClient, grpcJsClient, type Message } from "../support/grpc-js-client.ts";
import { addModel, onnxModel, tensorInfo } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const float = 1;

/** A model that takes the mean of all rows from each. */
function mixingModel(): Uint8Array {
  return onnxModel({
    node: [
      { opType: "ReduceMean", input: ["x"], output: ["mean"] },
      { opType: "Sub", input: ["x", "mean"], output: ["y"] },
    ],
    input: [tensorInfo("x", float, ["n", 2])],
    output: [tensorInfo("y", float, ["n", 2])],
  });
}

async function start(t: ExecutionContext): Promise<GrpcJsClient> {
  const folder = await temporaryFolder(t, {
    "adder/1/model.onnx": addModel(1),
    "mixing/1/model.onnx": mixingModel(),
    "capped/1/model.onnx": addModel(1),
    "capped/config.pbtxt":
      "max_batch_size: 4\ninput { name: 'x' data_type: TYPE_FP32 dims: [] }\ndynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 2000 }",
  });
  const server = await startServer(t, [folder]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return client;
}

function request(model: string, shape: readonly number[], values: readonly number[]): Message {
  return {
    model_name: model,
    inputs: [{ name: "x", datatype: "FP32", shape }],
    raw_input_contents: [Buffer.from(Float32Array.from(values).buffer)],
  };
}

function valuesOf(answer: Message): number[] {
  const bytes = Uint8Array.from((answer.raw_output_contents as Buffer[])[0]!);
  return [...new Float32Array(bytes.buffer)];
}

interface Stats {
  readonly inference_count: string;
  readonly execution_count: string;
  readonly batch_stats: readonly {
    readonly batch_size: string;
    readonly compute_infer: { readonly count: string };
  }[];
}

async function statsOf(client: GrpcJsClient, name: string): Promise<Stats> {
  const { model_stats: stats } = await client.call("ModelStatistics", { name });
  return (stats as Stats[])[0]!;
}

test("calls at once share runs of the model, each gets its own rows, and the counts add up", async (t) => {
  const client = await start(t);
  let calls = 0;
  let rows = 0;
  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, index) => {
        const values = Array.from({ length: 1 + (index % 3) }, (_, row) => index * 10 + row);
        calls++;
        rows += values.length;
        const answer = await client.call("ModelInfer", request("adder", [values.length], values));
        return valuesOf(answer).join() === values.map((value) => value + 1).join();
      }),
    );
    t.true(answers.every(Boolean));
  }
  const stats = await statsOf(client, "adder");
  t.is(Number(stats.inference_count), rows);
  t.true(
    Number(stats.execution_count) < calls / 2,
    `${stats.execution_count} runs for ${calls} calls`,
  );
  const executions = stats.batch_stats.map((each) => Number(each.compute_infer.count));
  const counted = stats.batch_stats.map(
    (each) => Number(each.batch_size) * Number(each.compute_infer.count),
  );
  t.is(
    executions.reduce((sum, count) => sum + count, 0),
    Number(stats.execution_count),
  );
  t.is(
    counted.reduce((sum, count) => sum + count, 0),
    rows,
  );
});

test("what was derived shows in ModelConfig, and no call that fits a message is refused for it", async (t) => {
  const folder = await temporaryFolder(t, { "adder/1/model.onnx": addModel(1) });
  const server = await startServer(t, [folder, "--max-message-size", "1MiB"]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  const { config } = await client.call("ModelConfig", { name: "adder" });
  const { max_batch_size: maximum, dynamic_batching: batching } = config as Message;
  t.is(maximum, 1024 * 1024);
  t.truthy(batching);
  // A message of nearly the whole limit, and the rows that JSON, at two bytes each, fits into it.
  const rows = 260_000;
  const answer = await client.call("ModelInfer", request("adder", [rows], Array(rows).fill(1)));
  t.true(valuesOf(answer).every((value) => value === 2));
  const url = `http://${server.address}/v2/models/adder/infer`;
  const infer = async (shape: number): Promise<Response> => {
    const data = Array(shape).fill(1);
    const body = { inputs: [{ name: "x", shape: [shape], datatype: "FP32", data }] };
    return await fetch(url, { method: "POST", body: JSON.stringify(body) });
  };
  const taken = await infer(500_000);
  t.is(taken.status, 200, await taken.text());
});

test("a model that mixes rows is never batched", async (t) => {
  const client = await start(t);
  const answers = await Promise.all(
    Array.from({ length: 300 }, async (_, index) =>
      valuesOf(await client.call("ModelInfer", request("mixing", [1, 2], [index, index + 2]))),
    ),
  );
  for (const answer of answers) t.deepEqual(answer, [-1, 1]);
  const stats = await statsOf(client, "mixing");
  t.is(stats.execution_count, "300");
});

test("dynamic_batching of config.pbtxt: no run has more rows than max_batch_size", async (t) => {
  const client = await start(t);
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, index) =>
      valuesOf(await client.call("ModelInfer", request("capped", [1], [index]))),
    ),
  );
  t.deepEqual(
    answers,
    Array.from({ length: 200 }, (_, index) => [index + 1]),
  );
  const stats = await statsOf(client, "capped");
  t.true(stats.batch_stats.every((each) => Number(each.batch_size) <= 4));
  t.true(Number(stats.execution_count) < 200);
});
