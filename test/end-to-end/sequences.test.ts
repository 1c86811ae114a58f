import test from "ava";
import { createClient, tensor } from "../../clients/typescript/src/node.ts";
import { type RunningServer, startServer } from "../support/command.ts";
import { type GrpcJsClient, grpcJsClient, type Message } from "../support/grpc-js-client.ts";
import {
  accumulatorConfig,
  accumulatorModel,
  collectorModel,
  mixingModel,
} from "../support/sequence-models.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

/** Longer than any pause of a loaded machine. */
const longIdle = "max_sequence_idle_microseconds: 600000000";

/** Remembers sums by itself, by id, and says in which thread; -99 ends it. */
const remembering = `import { threadId } from "node:worker_threads";
import { defineModel, InputError, tensor } from "tensorwire/model";

const int = { datatype: "INT32", shape: [1] } as const;

export default defineModel({
  inputs: { x: int, START: int, READY: int, END: int, CORRID: { datatype: "BYTES", shape: [1] } },
  outputs: { sum: int, thread: int, rows: int },
  maxBatchSize: 4,
  load: () => new Map<string, number>(),
  infer({ x, START, READY, END, CORRID }, { state }) {
    if (x.data.includes(-99)) process.exit(3);
    if (x.data.includes(-1)) throw new InputError("no negative values");
    const ids = CORRID.strings();
    const sums = Int32Array.from(x.data, (value, row) => {
      if (!READY.data[row]) return 0;
      const before = START.data[row] ? 0 : state.get(ids[row]!);
      if (before === undefined) throw new Error("never saw " + ids[row]);
      if (END.data[row]) state.delete(ids[row]!);
      else state.set(ids[row]!, before + value);
      return before + value;
    });
    return {
      sum: tensor(x.shape, sums),
      thread: tensor(x.shape, new Int32Array(x.data.length).fill(threadId)),
      rows: tensor(x.shape, new Int32Array(x.data.length).fill(x.data.length)),
    };
  },
});
`;

/** The configuration of such a model. */
const rememberingConfig = `
backend: "typescript"
max_batch_size: 4
instance_group [ { count: 2 kind: KIND_CPU } ]
sequence_batching {
  direct { }
  ${longIdle}
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_STRING } ] }
  ]
}
`;

/** Adds to a state that the server keeps for it. */
const stateful = `import { defineModel, tensor } from "tensorwire/model";

const int = { datatype: "INT32", shape: [1] } as const;

export default defineModel({
  inputs: { x: int, before: int },
  outputs: { sum: int, after: int },
  infer: ({ x, before }) => {
    const sum = tensor([1], Int32Array.of(before.data[0]! + x.data[0]!));
    return { sum, after: sum };
  },
});
`;

/** Answers each call with all values of its sequence so far, one at a time; fails at -1 after the first. */
const telling = `import { defineModel, tensor } from "tensorwire/model";

const int = { datatype: "INT32", shape: [1] } as const;

export default defineModel({
  inputs: { x: int, START: int, CORRID: { datatype: "INT64", shape: [1] } },
  outputs: { value: int },
  load: () => new Map<bigint, number[]>(),
  async *infer({ x, START, CORRID }, { state, signal }) {
    const id = CORRID.data[0]!;
    const values = START.data[0] ? [] : state.get(id)!;
    state.set(id, values);
    values.push(x.data[0]!);
    for (const value of values) {
      if (value === -1) throw new Error("it does not tell of -1");
      if (value === -2) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      yield { value: tensor([1], Int32Array.of(value)) };
    }
  },
});
`;

/** Models of the tests, each with a name of its own: one server for all of them. */
const models: Readonly<Record<string, string | Uint8Array>> = {
  "direct/1/model.onnx": accumulatorModel(),
  "direct/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
  "oldest/1/model.onnx": accumulatorModel(),
  "oldest/config.pbtxt": accumulatorConfig(4, `oldest { max_candidate_sequences: 4 } ${longIdle}`),
  "direct-single/1/model.onnx": accumulatorModel("single"),
  "direct-single/config.pbtxt": accumulatorConfig(0, `direct { } ${longIdle}`),
  "oldest-single/1/model.onnx": accumulatorModel("single"),
  "oldest-single/config.pbtxt": accumulatorConfig(
    0,
    `oldest { max_candidate_sequences: 3 } ${longIdle}`,
  ),
  "texts/1/model.onnx": accumulatorModel("batched", "BYTES"),
  "texts/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`, "STRING"),
  "hasty/1/model.onnx": accumulatorModel("single"),
  "hasty/config.pbtxt": accumulatorConfig(0, "direct { } max_sequence_idle_microseconds: 300000"),
  "patient/1/model.onnx": accumulatorModel("single"),
  "patient/config.pbtxt": accumulatorConfig(0, `direct { } ${longIdle}`),
  "defaults/1/model.onnx": accumulatorModel(),
  "defaults/config.pbtxt": accumulatorConfig(4, "oldest { }"),
  "shown/1/model.onnx": accumulatorModel(),
  "shown/config.pbtxt": `${accumulatorConfig(4, "")}
output [ { name: "sum" data_type: TYPE_INT32 dims: [ 1 ] }, { name: "sum_out" data_type: TYPE_INT32 dims: [ 1 ] } ]`,
  "long/1/model.onnx": accumulatorModel(),
  "long/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
  "all/1/model.onnx": collectorModel(),
  "all/config.pbtxt": `
max_batch_size: 8
sequence_batching {
  oldest { max_candidate_sequences: 8 }
  ${longIdle}
  state [ {
    input_name: "past" output_name: "kept" data_type: TYPE_FP32 dims: [ -1 ]
    initial_state: { data_type: TYPE_FP32 dims: [ 2 ] data_file: "first" name: "first values" }
  } ]
}
`,
  "all/initial_state/first": new Uint8Array(Float32Array.of(0.5, 0.25).buffer),
  "mixing/1/model.onnx": mixingModel(),
  "mixing/config.pbtxt": `
max_batch_size: 4
sequence_batching {
  direct { }
  ${longIdle}
  state [ { input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] } ]
}
`,
  "typed/1/model.onnx": accumulatorModel(),
  "typed/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
  "pair/1/model.onnx": accumulatorModel(),
  "pair/config.pbtxt": `${accumulatorConfig(2, `direct { } ${longIdle}`)}
instance_group [ { count: 2 kind: KIND_CPU } ]`,
  "leaving/1/model.onnx": accumulatorModel("single"),
  "leaving/config.pbtxt": accumulatorConfig(0, `direct { } ${longIdle}`),
  "renewed/1/model.onnx": accumulatorModel(),
  "renewed/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
  ...Object.fromEntries(
    ["direct", "oldest"].flatMap((strategy) => [
      [`cancelled-${strategy}/1/model.onnx`, accumulatorModel()],
      [`cancelled-${strategy}/config.pbtxt`, accumulatorConfig(4, `${strategy} { } ${longIdle}`)],
    ]),
  ),
  "crowded/1/model.onnx": accumulatorModel(),
  "crowded/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
  "remembering/1/model.ts": remembering,
  "remembering/config.pbtxt": rememberingConfig,
  "strict/1/model.ts": remembering,
  "strict/config.pbtxt": rememberingConfig,
  "mortal/1/model.ts": remembering,
  "mortal/config.pbtxt": rememberingConfig.replace("count: 2", "count: 1"),
  "telling/1/model.ts": telling,
  "telling/config.pbtxt": `
backend: "typescript"
sequence_batching {
  oldest { max_candidate_sequences: 2 }
  ${longIdle}
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 } ] }
  ]
}
`,
  "stateful/1/model.ts": stateful,
  "stateful/config.pbtxt": `
backend: "typescript"
sequence_batching {
  oldest { max_candidate_sequences: 8 }
  ${longIdle}
  state [ { input_name: "before" output_name: "after" data_type: TYPE_INT32 dims: [ 1 ] } ]
}
`,
  "graph/config.pbtxt": `
platform: "ensemble"
max_batch_size: 4
input { name: "value" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "total" data_type: TYPE_INT32 dims: [ 1 ] }
ensemble_scheduling { step {
  model_name: "long" model_version: -1
  input_map { key: "x" value: "value" }
  output_map { key: "sum" value: "total" }
} }
`,
};

let server: RunningServer;
let client: GrpcJsClient;

const teardowns: (() => unknown)[] = [];

test.before(async () => {
  const t = { teardown: (action: () => unknown) => void teardowns.unshift(action) };
  server = await startServer(t, [await temporaryFolder(t, models)]);
  client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
});

test.after.always(async () => {
  for (const action of teardowns) await action();
});

interface Flags {
  readonly start?: boolean;
  readonly end?: boolean;
  readonly timeout?: number;
}

/** A call of a sequence with one value. */
function step(
  model: string,
  id: number | string,
  value: number,
  { start = false, end = false, timeout }: Flags = {},
  shape: readonly number[] = [1, 1],
): Message {
  const idParameter = typeof id === "string" ? { string_param: id } : { int64_param: id };
  return {
    model_name: model,
    id: `${id}: ${value}`,
    parameters: {
      sequence_id: idParameter,
      sequence_start: { bool_param: start },
      sequence_end: { bool_param: end },
      ...(timeout === undefined ? {} : { timeout: { int64_param: timeout } }),
    },
    inputs: [{ name: "x", datatype: "INT32", shape }],
    raw_input_contents: [Buffer.from(Int32Array.of(value).buffer)],
  };
}

/** Contents of an output by name. */
function rawOf(answer: Message, name: string): Uint8Array {
  const outputs = answer.outputs as { readonly name: string }[];
  const index = outputs.findIndex((output) => output.name === name);
  return Uint8Array.from((answer.raw_output_contents as Buffer[])[index]!);
}

function int32(answer: Message, name: string): number {
  return new Int32Array(rawOf(answer, name).buffer)[0]!;
}

/** What the model was told of the sequence. */
function told(answer: Message): readonly unknown[] {
  return [
    int32(answer, "told_start"),
    new Float32Array(rawOf(answer, "told_ready").buffer)[0],
    rawOf(answer, "told_end")[0],
  ];
}

interface ModelStats {
  readonly inference_count: string;
  readonly execution_count: string;
  readonly batch_stats: readonly {
    readonly batch_size: string;
    readonly compute_infer: { readonly count: string };
  }[];
  readonly inference_stats: {
    readonly success: { readonly count: string };
    readonly fail: { readonly count: string };
  };
}

async function statsOf(name: string): Promise<ModelStats> {
  const { model_stats: stats } = await client.call("ModelStatistics", { name });
  return (stats as ModelStats[])[0]!;
}

async function metric(line: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const found = text.split("\n").find((each) => each.startsWith(line));
  return found === undefined ? Number.NaN : Number(found.split(" ").at(-1));
}

for (const [model, shape] of [
  ["direct", [1, 1]],
  ["oldest", [1, 1]],
  ["direct-single", [1]],
  ["oldest-single", [1]],
] as const) {
  test(`${model}: keeps the sums of interleaved sequences apart, and tells the model of them`, async (t) => {
    const ids = [3, 1001, 7, 12, 5];
    const length = 6;
    const answered = await Promise.all(
      ids.map(async (id) => {
        const sums: number[] = [];
        for (let index = 0; index < length; index++) {
          const flags = { start: index === 0, end: index === length - 1 };
          const request = step(model, id, id * 10 + index, flags, shape);
          const answer = await client.call("ModelInfer", request);
          sums.push(int32(answer, "sum"));
          t.deepEqual(told(answer), [flags.start ? 1 : 0, 7, flags.end ? 1 : 0]);
          t.is(new BigUint64Array(rawOf(answer, "told_id").buffer)[0], BigInt(id));
          t.false((answer.outputs as { name: string }[]).some(({ name }) => name === "sum_out"));
        }
        return sums;
      }),
    );
    const byHand = ids.map((id) => {
      let sum = 0;
      return Array.from({ length }, (_, index) => {
        sum += id * 10 + index;
        return sum;
      });
    });
    t.deepEqual(answered, byHand);
    const stats = await statsOf(model);
    t.is(stats.inference_count, "30");
    t.is(stats.inference_stats.success.count, "30");
    t.true(Number(stats.execution_count) <= 30);
    // A run counts its calls, so the sizes of the runs add up to them.
    const rows = stats.batch_stats.map(
      (each) => Number(each.batch_size) * Number(each.compute_infer.count),
    );
    t.is(
      rows.reduce((sum, count) => sum + count, 0),
      30,
    );
  });
}

test("a state that grows: each sequence remembers its own values, in runs that they share where shapes agree", async (t) => {
  const call = async (id: string, x: number, flags: Flags): Promise<number[]> => {
    const request = step("all", id, 0, flags);
    request.inputs = [{ name: "x", datatype: "FP32", shape: [1, 1] }];
    request.raw_input_contents = [Buffer.from(Float32Array.of(x).buffer)];
    const answer = await client.call("ModelInfer", request);
    return [...new Float32Array(rawOf(answer, "all").buffer)];
  };
  await Promise.all(
    Array.from({ length: 6 }, async (_, sequence) => {
      const expected = [0.5, 0.25];
      for (let index = 0; index <= sequence; index++) {
        expected.push(sequence + index / 8);
        const all = await call(`s${sequence}`, sequence + index / 8, { start: index === 0 });
        t.deepEqual(all, expected);
      }
    }),
  );
  // Six sequences are open: with 3 to 8 values of four bytes.
  const labels = '{model="all",version="1"}';
  t.is(await metric(`tensorwire_sequences_active${labels}`), 6);
  t.is(await metric(`tensorwire_sequence_slots${labels}`), 8);
  t.is(await metric(`tensorwire_sequence_state_bytes${labels}`), 4 * (3 + 4 + 5 + 6 + 7 + 8));
  for (let sequence = 0; sequence < 6; sequence++) await call(`s${sequence}`, 1, { end: true });
  t.is(await metric(`tensorwire_sequence_state_bytes${labels}`), 0);
  const ended = '{model="all",version="1",cause="end"}';
  t.is(await metric(`tensorwire_sequences_ended_total${ended}`), 6);
});

test("a stream carries several sequences, and answers in the order of its requests", async (t) => {
  const stream = client.stream("ModelStreamInfer");
  const answers: Message[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    stream.on("data", (answer: Message) => answers.push(answer));
    stream.on("end", resolve);
    stream.on("error", reject);
  });
  const values = [1, 20, 300, 4000];
  const expected: string[] = [];
  const sums = [0, 0];
  for (const [index, value] of values.entries()) {
    for (const [number, id] of ["one", "two"].entries()) {
      const flags = { start: index === 0, end: index === values.length - 1 };
      stream.write(step("texts", id, value * (number + 1), flags));
      sums[number]! += value * (number + 1);
      expected.push(`${id} ${sums[number]}`);
    }
  }
  // One without a start is answered with its error, and does not end the stream.
  stream.write(step("texts", "three", 1));
  stream.end();
  await ended;
  const got = answers.slice(0, -1).map(({ infer_response: response }) => {
    const id = Buffer.from(rawOf(response as Message, "told_id"))
      .subarray(4)
      .toString();
    return `${id} ${int32(response as Message, "sum")}`;
  });
  t.deepEqual(got, expected);
  t.regex(
    answers.at(-1)!.error_message as string,
    /inference request for sequence three to model 'texts' must specify the START flag on the first request of the sequence/,
  );
});

test("what is no call of a sequence is refused, with what to do", async (t) => {
  const refused = async (request: Message, code: number, message: RegExp): Promise<void> => {
    const error = (await t.throwsAsync(client.call("ModelInfer", request))) as Error & {
      code: number;
    };
    t.is(error.code, code);
    t.regex(error.message, message);
  };
  const none = step("direct", 0, 1, { start: true });
  await refused(none, 3, /must specify a non-zero or non-empty correlation ID.*sequence_id/);
  await refused({ ...none, parameters: {} }, 3, /must specify a non-zero or non-empty/);
  await refused(step("direct", 9, 1), 3, /sequence 9.*must specify the START flag.*sequence_start/);
  await refused(step("direct", "nine", 1, { start: true }), 3, /sequence_id.*an integer/);
  const two = step("direct", 9, 1, { start: true }, [2, 1]);
  two.raw_input_contents = [Buffer.alloc(8)];
  await refused(two, 3, /must specify batch-size 1 due to requirements of sequence batcher/);
  const control = step("direct", 9, 1, { start: true });
  (control.inputs as Message[]).push({ name: "START", datatype: "INT32", shape: [1, 1] });
  (control.raw_input_contents as Buffer[]).push(Buffer.alloc(4));
  await refused(control, 3, /no input "START"; it has \["x"\]/);
  const state = { ...step("direct", 9, 1, { start: true }), outputs: [{ name: "sum_out" }] };
  await refused(state, 3, /no output "sum_out"/);
});

test("an idle sequence ends after max_sequence_idle_microseconds, and one that waits takes its slot", async (t) => {
  const call = (id: number, flags: Flags): Promise<Message> =>
    client.call("ModelInfer", step("hasty", id, 5, flags, [1]));
  await call(1, { start: true });
  // There is one slot, so this is answered when the first sequence has ended.
  t.is(int32(await call(2, { start: true }), "sum"), 5);
  const error = await t.throwsAsync(call(1, {}));
  t.regex(error!.message, /sequence 1.*was without a call for more than 300 ms/);
  const ended = '{model="hasty",version="1",cause="idle"}';
  t.true((await metric(`tensorwire_sequences_ended_total${ended}`)) >= 1);
});

test("a deadline ends the sequence whose call waits, as does a caller who goes away", async (t) => {
  await client.call("ModelInfer", step("patient", 1, 5, { start: true }, [1]));
  const late = (await t.throwsAsync(
    client.call("ModelInfer", step("patient", 2, 5, { start: true }, [1]), { deadlineMs: 200 }),
  )) as Error & { code: number };
  t.is(late.code, 4);
  const waiting = client.begin("ModelInfer", step("patient", 3, 5, { start: true }, [1]));
  const behind = client.call("ModelInfer", step("patient", 3, 5, {}, [1]));
  const behindFailed = t.throwsAsync(behind, { message: /sequence 3 ended when a call before/ });
  const labels = '{model="patient",version="1"}';
  await until(async () => {
    const pending = await metric(`nv_inference_pending_request_count${labels}`);
    return pending === 2 && (await metric(`tensorwire_sequences_waiting${labels}`)) === 1;
  });
  waiting.cancel();
  await t.throwsAsync(waiting.answer);
  await behindFailed;
  const impatient = step("patient", 4, 5, { start: true, timeout: 1000 }, [1]);
  const timedOut = (await t.throwsAsync(client.call("ModelInfer", impatient))) as Error & {
    code: number;
  };
  t.is(timedOut.code, 14);
  t.regex(timedOut.message, /timeout of the corresponding sequence has been expired/);
  // The first was not touched.
  const last = await client.call("ModelInfer", step("patient", 1, 5, { end: true }, [1]));
  t.is(int32(last, "sum"), 10);
  t.is(await metric(`tensorwire_sequences_active${labels}`), 0);
});

test("ModelConfig and ModelMetadata show what callers see, and the defaults", async (t) => {
  const { config } = await client.call("ModelConfig", { name: "defaults" });
  const {
    sequence_batching: batching,
    input,
    output,
  } = config as {
    sequence_batching: Message;
    input: Message[];
    output: Message[];
  };
  t.is(batching.max_sequence_idle_microseconds, "1000000");
  t.like(batching.oldest, { max_candidate_sequences: 4, preferred_batch_size: [4] });
  t.deepEqual(
    input.map(({ name }) => name),
    ["x"],
  );
  t.deepEqual(
    output.map(({ name }) => name),
    ["sum", "told_start", "told_ready", "told_end", "told_id"],
  );
  const metadata = await client.call("ModelMetadata", { name: "shown" });
  t.deepEqual(
    (metadata.outputs as Message[]).map(({ name }) => name),
    ["sum", "sum_out"],
  );
  const answer = await client.call("ModelInfer", step("shown", 1, 5, { start: true }));
  t.deepEqual([int32(answer, "sum"), int32(answer, "sum_out")], [5, 5]);
  const { config: shown } = await client.call("ModelConfig", { name: "shown" });
  t.is(((shown as Message).sequence_batching as Message).strategy_choice, "direct");
});

test("over REST too: sequence_id as a number or a text", async (t) => {
  const infer = async (parameters: Message): Promise<Response> => {
    const inputs = [{ name: "x", shape: [1, 1], datatype: "INT32", data: [7] }];
    const body = JSON.stringify({ parameters, inputs, outputs: [{ name: "sum" }] });
    return await fetch(`${server.url}/v2/models/long/infer`, { method: "POST", body });
  };
  for (const [start, sum] of [
    [true, 7],
    [false, 14],
    [false, 21],
  ] as const) {
    const response = await infer({ sequence_id: 4_294_967_299, sequence_start: start });
    t.is(response.status, 200);
    const { outputs } = (await response.json()) as { outputs: { data: number[] }[] };
    t.deepEqual(outputs[0]!.data, [sum]);
  }
  const refused = await infer({ sequence_id: 6 });
  t.is(refused.status, 400);
  t.is(((await refused.json()) as Message).reason, "SEQUENCE_NOT_STARTED");
});

test("a step of an ensemble keeps sequences: the ensemble's caller names them", async (t) => {
  const totals: number[] = [];
  for (const [index, value] of [4, 5, 6].entries()) {
    const request = step("graph", 77, value, { start: index === 0 });
    (request.inputs as Message[])[0]!.name = "value";
    totals.push(int32(await client.call("ModelInfer", request), "total"));
  }
  t.deepEqual(totals, [4, 9, 15]);
  const without: Message = { ...step("graph", 77, 1), parameters: {} };
  (without.inputs as Message[])[0]!.name = "value";
  await t.throwsAsync(client.call("ModelInfer", without), {
    message: /step "long" failed: .*must specify a non-zero/,
  });
});

test("a model in TypeScript may remember its sequences: each stays with its thread", async (t) => {
  const ids = Array.from({ length: 7 }, (_, index) => `s${index}`);
  const threads = await Promise.all(
    ids.map(async (id, sequence) => {
      let sum = 0;
      const seen = new Set<number>();
      for (let index = 0; index < 5; index++) {
        const value = sequence * 100 + index;
        sum += value;
        const flags = { start: index === 0, end: index === 4 };
        const answer = await client.call("ModelInfer", step("remembering", id, value, flags));
        t.is(int32(answer, "sum"), sum);
        t.true(int32(answer, "rows") <= 4);
        seen.add(int32(answer, "thread"));
      }
      return [...seen];
    }),
  );
  for (const seen of threads) t.is(seen.length, 1);
  // Sequences are spread over both instances.
  t.is(new Set(threads.flat()).size, 2);
});

test("a model in TypeScript refuses one call, and its sequence goes on; calls with parameters run alone", async (t) => {
  const call = (value: number, flags: Flags, parameters: Message = {}): Promise<Message> => {
    const request = step("strict", "one", value, flags);
    Object.assign(request.parameters as Message, parameters);
    return client.call("ModelInfer", request);
  };
  await call(5, { start: true });
  await t.throwsAsync(call(-1, {}), { message: /INVALID_ARGUMENT.*no negative values/ });
  t.is(int32(await call(6, {}, { hint: { string_param: "x" } }), "sum"), 11);
  t.is(int32(await call(7, { end: true }), "sum"), 18);
});

test("when the thread of a model in TypeScript ends its sequences are lost, and can be started again", async (t) => {
  const call = (id: string, value: number, flags: Flags): Promise<Message> =>
    client.call("ModelInfer", step("mortal", id, value, flags));
  await call("a", 1, { start: true });
  await call("b", 2, { start: true });
  const deadly = call("a", -99, {});
  const behind = call("a", 1, {});
  const failures = await Promise.all(
    [deadly, behind].map((each) => t.throwsAsync(each) as Promise<Error & { code: number }>),
  );
  t.deepEqual(
    failures.map(({ code }) => code),
    [14, 10],
  );
  t.regex(failures[1]!.message, /its thread ended, and with it what it knew of sequence a/);
  await t.throwsAsync(call("b", 1, {}), { message: /sequence b .*must specify the START flag/ });
  await until(async () => {
    try {
      return int32(await call("b", 3, { start: true }), "sum") === 3;
    } catch {
      // Its thread is started again.
      return false;
    }
  });
  t.is(int32(await call("b", 4, { end: true }), "sum"), 7);
  const lost = '{model="mortal",version="1",cause="lost"}';
  t.is(await metric(`tensorwire_sequences_ended_total${lost}`), 2);
});

test("the server keeps states for a model in TypeScript too", async (t) => {
  const sums = await Promise.all(
    [1, 2, 3].map(async (id) => {
      const answers: number[] = [];
      for (let index = 0; index < 4; index++) {
        const request = step("stateful", id, id * 10, { start: index === 0 }, [1]);
        answers.push(int32(await client.call("ModelInfer", request), "sum"));
      }
      return answers;
    }),
  );
  t.deepEqual(sums, [
    [10, 20, 30, 40],
    [20, 40, 60, 80],
    [30, 60, 90, 120],
  ]);
});

test("a stream may carry more sequences than there are slots, however long they are", async (t) => {
  const stream = client.stream("ModelStreamInfer");
  const sums: number[] = [];
  const ended = new Promise<void>((resolve, reject) => {
    stream.on("data", ({ infer_response: response }: Message) =>
      sums.push(int32(response as Message, "sum")),
    );
    stream.on("end", resolve);
    stream.on("error", reject);
  });
  // The fifth has no slot until one of the four before it ends, which is written last.
  const expected: number[] = [];
  const length = 40;
  for (let index = 0; index < length; index++) {
    for (let id = 1; id <= 5; id++) {
      stream.write(step("crowded", id, id, { start: index === 0, end: index === length - 1 }));
      expected.push(id * (index + 1));
    }
  }
  stream.end();
  await ended;
  t.deepEqual(sums, expected);
});

test("several instances have a slot for each row of each; beyond them sequences wait", async (t) => {
  const labels = '{model="pair",version="1"}';
  t.is(await metric(`tensorwire_sequence_slots${labels}`), 4);
  const call = (id: number, flags: Flags): Promise<Message> =>
    client.call("ModelInfer", step("pair", id, id, flags));
  for (const id of [1, 2, 3, 4]) await call(id, { start: true });
  const waits = call(5, { start: true });
  await until(async () => (await metric(`tensorwire_sequences_waiting${labels}`)) === 1);
  t.is(int32(await call(2, { end: true }), "sum"), 4);
  t.is(int32(await waits, "sum"), 5);
  const last = await Promise.all([1, 3, 4, 5].map((id) => call(id, { end: true })));
  t.deepEqual(
    last.map((answer) => int32(answer, "sum")),
    [2, 6, 8, 10],
  );
});

test("unloading answers the calls that wait for a slot, though nobody ends the sequence that has it", async (t) => {
  const call = (id: number, flags: Flags): Promise<Message> =>
    client.call("ModelInfer", step("leaving", id, id, flags, [1]));
  await call(1, { start: true });
  const waiting = [call(2, { start: true }), call(2, {}), call(3, { start: true })];
  const labels = '{model="leaving",version="1"}';
  await until(async () => (await metric(`tensorwire_sequences_waiting${labels}`)) === 2);
  await client.call("RepositoryModelUnload", { model_name: "leaving" });
  const answers = await Promise.all(waiting);
  t.deepEqual(
    answers.map((answer) => int32(answer, "sum")),
    [2, 4, 3],
  );
});

test("loading a model again ends its sequences, which can be started again", async (t) => {
  const call = (flags: Flags): Promise<Message> =>
    client.call("ModelInfer", step("renewed", 8, 8, flags));
  await call({ start: true });
  t.is(int32(await call({}), "sum"), 16);
  await client.call("RepositoryModelLoad", { model_name: "renewed" });
  await t.throwsAsync(call({}), { message: /sequence 8 .*must specify the START flag/ });
  t.is(int32(await call({ start: true }), "sum"), 8);
});

test("a model that comes with the load request brings the start of its states", async (t) => {
  const bytes = (data: Uint8Array): Message => ({ bytes_param: Buffer.from(data) });
  const config = {
    sequenceBatching: {
      state: [
        {
          inputName: "past",
          outputName: "kept",
          dataType: "TYPE_FP32",
          dims: [-1],
          initialState: [{ name: "s", dataType: "TYPE_FP32", dims: [1], dataFile: "first" }],
        },
      ],
    },
  };
  const parameters = {
    config: { string_param: JSON.stringify(config) },
    "file:1/model.onnx": bytes(collectorModel("single")),
    "file:initial_state/first": bytes(new Uint8Array(Float32Array.of(8).buffer)),
  };
  await client.call("RepositoryModelLoad", { model_name: "brought", parameters });
  const request = step("brought", 1, 0, { start: true });
  request.inputs = [{ name: "x", datatype: "FP32", shape: [1] }];
  request.raw_input_contents = [Buffer.from(Float32Array.of(3).buffer)];
  const answer = await client.call("ModelInfer", request);
  t.deepEqual([...new Float32Array(rawOf(answer, "all").buffer)], [8, 3]);
  const outside = { ...parameters, "file:initial_state/../../x": bytes(new Uint8Array(4)) };
  await t.throwsAsync(
    client.call("RepositoryModelLoad", { model_name: "brought", parameters: outside }),
    { message: /initial_state\/NAME/ },
  );
});

/** Numbers from 0 to 1, the same each time. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

for (const strategy of ["direct", "oldest"]) {
  test(`${strategy}: calls that are cancelled or late leave no gap in a sequence, and nothing behind`, async (t) => {
    const model = `cancelled-${strategy}`;
    const counts = { answered: 0, left: 0, refused: 0, wentOn: 0 };
    /** A caller who uses one id for sequence after sequence, and gives up some of its calls. */
    const caller = async (id: number): Promise<void> => {
      const random = chance(id);
      let sum = 0;
      /** The value of a call that was given up, of which nobody knows whether it counted. */
      let doubtful: number | undefined;
      let start = true;
      for (let turn = 0; turn < 150; turn++) {
        const value = 1 + Math.floor(random() * 1000);
        const request = step(model, id, value, { start });
        const fate = random();
        let answer: Promise<Message>;
        if (fate < 0.1) {
          const begun = client.begin("ModelInfer", request);
          answer = begun.answer;
          setTimeout(() => begun.cancel(), random() * 3);
        } else if (fate < 0.15) {
          answer = client.call("ModelInfer", request, { deadlineMs: 1 + random() * 3 });
        } else answer = client.call("ModelInfer", request);
        try {
          const got = int32(await answer, "sum");
          const expected = (start ? 0 : sum + (doubtful ?? 0)) + value;
          if (got !== expected) throw new Error(`${id}: a sum of ${got} in place of ${expected}`);
          counts.answered++;
          if (doubtful !== undefined && !start) counts.wentOn++;
          sum = got;
          doubtful = undefined;
          start = false;
        } catch (error) {
          const { code, message } = error as Error & { code?: number };
          if (code === 1 || code === 4) {
            counts.left++;
            // A second one in a row leaves too much open.
            start = doubtful !== undefined || start || random() < 0.5;
            doubtful = value;
          } else if (code === 3 && doubtful !== undefined && /START flag/.test(message)) {
            counts.refused++;
            start = true;
            doubtful = undefined;
          } else throw error;
        }
        if (start) {
          sum = 0;
          doubtful = undefined;
        }
      }
      const last = step(model, id, 1, { start: true, end: true });
      t.is(int32(await client.call("ModelInfer", last), "sum"), 1);
    };
    await Promise.all([1, 2, 3, 4, 5, 6].map(caller));
    t.true(counts.answered > 0 && counts.left > 0, JSON.stringify(counts));
    t.log(JSON.stringify(counts));
    const labels = `{model="${model}",version="1"}`;
    for (const name of ["sequences_active", "sequences_waiting", "sequence_state_bytes"]) {
      await until(async () => (await metric(`tensorwire_${name}${labels}`)) === 0);
    }
    t.is(await metric(`nv_inference_pending_request_count${labels}`), 0);
  });
}

test("a model whose rows know of each other gets the calls of sequences one by one, and the log says so", async (t) => {
  const sums = await Promise.all(
    [1, 2, 3, 4, 5, 6, 7, 8].map(async (id) => {
      const answers: number[] = [];
      for (let index = 0; index < 10; index++) {
        const request = step("mixing", id, 0, { start: index === 0, end: index === 9 });
        request.inputs = [{ name: "x", datatype: "FP32", shape: [1, 1] }];
        request.raw_input_contents = [Buffer.from(Float32Array.of(id * 100 + index).buffer)];
        const answer = await client.call("ModelInfer", request);
        answers.push(new Float32Array(rawOf(answer, "sum").buffer)[0]!);
      }
      return answers;
    }),
  );
  // Alone, x is the mean.
  t.deepEqual(sums.flat(), Array<number>(80).fill(0));
  const stats = await statsOf("mixing");
  t.is(stats.execution_count, "80");
  t.regex(server.stderr(), /mixing.*sequences are run one by one/s);
});

test("calls of a sequence may have any number of answers each: the next begins when the last was taken", async (t) => {
  const stream = client.stream("ModelStreamInfer");
  const told = new Map<string, (number | string)[]>();
  let answers = 0;
  stream.on("data", ({ infer_response: response, error_message: error }: Message) => {
    const { id } = response as { id: string };
    const sequence = id.split(":")[0]!;
    const values = told.get(sequence) ?? [];
    told.set(sequence, values);
    values.push(error ? String(error) : int32(response as Message, "value"));
    answers++;
  });
  const ended = new Promise<void>((resolve) => stream.on("end", resolve));
  // Three sequences in two slots: the third begins when one of the others has ended.
  for (const value of [1, 2, 3]) {
    for (const id of [1, 2, 3]) {
      const flags = { start: value === 1, end: value === 3 };
      stream.write(step("telling", id, id * 10 + value, flags, [1]));
    }
  }
  await until(() => answers === 18);
  for (const id of [1, 2, 3]) {
    const [a, b, c] = [1, 2, 3].map((value) => id * 10 + value);
    t.deepEqual(told.get(String(id)), [a, a, b, a, b, c]);
  }
  // A call that fails after an answer leaves its sequence as the model left it.
  stream.write(step("telling", 4, 7, { start: true }, [1]));
  stream.write(step("telling", 4, -1, {}, [1]));
  stream.write(step("telling", 5, 8, {}, [1]));
  await until(() => answers === 22);
  const [seven, again, failure] = told.get("4")!;
  t.deepEqual([seven, again], [7, 7]);
  t.regex(String(failure), /it does not tell of -1/);
  t.regex(String(told.get("5")![0]), /must specify the START flag/);
  stream.end();
  await ended;
  const unary = client.call("ModelInfer", step("telling", 6, 1, { start: true }, [1]));
  await t.throwsAsync(unary, { message: /UNIMPLEMENTED.*decoupled/ });
  // A caller who leaves ends the model's work, and the sequence with it.
  const leaving = client.stream("ModelStreamInfer");
  leaving.on("error", () => {});
  const begun = new Promise((resolve) => leaving.once("data", resolve));
  leaving.write(step("telling", 7, 1, { start: true }, [1]));
  await begun;
  leaving.write(step("telling", 7, -2, {}, [1]));
  const labels = '{model="telling",version="1"}';
  await until(async () => (await metric(`tensorwire_model_running_requests${labels}`)) === 1);
  leaving.cancel();
  const cancelled = '{model="telling",version="1",cause="cancelled"}';
  await until(async () => (await metric(`tensorwire_sequences_ended_total${cancelled}`)) === 1);
  await until(async () => (await metric(`tensorwire_model_running_requests${labels}`)) === 0);
  // Of the fourth sequence nobody has said that it ends.
  t.is(await metric(`tensorwire_sequences_active${labels}`), 1);
});

test("@tensorwire/client sends sequences by parameters", async (t) => {
  const typed = createClient(server.url);
  const sums: number[] = [];
  for (const [index, value] of [3, 4, 5].entries()) {
    const x = tensor([1, 1], Int32Array.of(value));
    const parameters = { sequence_id: 2n ** 63n, sequence_start: index === 0 };
    const result = await typed.infer("typed", { x }, { parameters });
    sums.push(result.output("sum", "INT32").data[0]!);
  }
  t.deepEqual(sums, [3, 7, 12]);
  typed.close();
});
