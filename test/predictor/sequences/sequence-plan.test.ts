import { fromText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import type { DeclaredPort } from "../../../server/predictor/engines/engine.ts";
import {
  fedPorts,
  readSequences,
  type SequencePlan,
  sequenceBatchingOf,
  showSequences,
  visiblePorts,
} from "../../../server/predictor/sequences/sequence-plan.ts";
import type { Datatype } from "../../../server/tensor/datatype.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

function port(name: string, datatype: Datatype, shape: readonly number[]): DeclaredPort {
  return { name, datatype, shape, optional: false, labels: [] };
}

const declared = {
  inputs: [
    port("x", "FP32", [-1, 4]),
    port("start", "INT32", [-1, 1]),
    port("ready", "FP32", [-1, 1]),
    port("end", "BOOL", [-1, -1]),
    port("id", "UINT64", [-1, 1]),
    port("state", "FP32", [-1, 2, -1]),
    port("words", "BYTES", [-1, 2]),
    port("fixed", "INT32", [1, 1]),
    port("wide", "INT32", [-1, 2]),
  ],
  outputs: [
    port("y", "FP32", [-1, 4]),
    port("next", "FP32", [-1, 2, -1]),
    port("next_words", "BYTES", [-1, 2]),
  ],
};

function read(folder: string, text: string): Promise<SequencePlan> {
  const config = fromText(ModelConfigSchema, `max_batch_size: 8 ${text}`);
  return readSequences("m", folder, config, sequenceBatchingOf(config)!, declared);
}

const control = (name: string, rest: string): string =>
  `control_input { name: "${name}" control { ${rest} } }`;
const startControl = control("start", "kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]");
const state = (rest: string): string =>
  `state { input_name: "state" output_name: "next" data_type: TYPE_FP32 dims: [ 2, -1 ] ${rest} }`;

test("what is not given has Triton's defaults, and shows in the configuration", async (t) => {
  const plan = await read("", "sequence_batching { }");
  t.like(plan, {
    strategy: { kind: "direct", maxDelayMs: 0, minimumUtilization: 0 },
    slotsPerInstance: 8,
    maxRows: 8,
    batched: true,
    idleMs: 1000,
    states: [],
  });
  const config = fromText(ModelConfigSchema, "max_batch_size: 8 sequence_batching { oldest { } }");
  const oldest = await readSequences("m", "", config, sequenceBatchingOf(config)!, declared);
  t.is(oldest.slotsPerInstance, 8);
  showSequences(config, oldest);
  const shown = sequenceBatchingOf(config)!;
  t.is(shown.maxSequenceIdleMicroseconds, 1_000_000n);
  t.like(shown.strategyChoice, {
    case: "oldest",
    value: { maxCandidateSequences: 8, preferredBatchSize: [8] },
  });
  const single = fromText(ModelConfigSchema, "sequence_batching { }");
  const plain = await readSequences("m", "", single, sequenceBatchingOf(single)!, declared);
  t.like(plain, { slotsPerInstance: 1, maxRows: 1, batched: false });
});

test("what is given is read: strategy, times, controls, states", async (t) => {
  const folder = await temporaryFolder(t, {
    "initial_state/six": new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer),
    "initial_state/two": new Uint8Array([2, 0, 0, 0, 104, 105, 0, 0, 0, 0]),
  });
  const plan = await read(
    folder,
    `sequence_batching {
      max_sequence_idle_microseconds: 2500
      oldest { max_candidate_sequences: 20 preferred_batch_size: [ 4, 2 ] max_queue_delay_microseconds: 500 preserve_ordering: true }
      ${startControl}
      ${control("ready", "kind: CONTROL_SEQUENCE_READY fp32_false_true: [ -1.5, 2 ]")}
      ${control("end", "kind: CONTROL_SEQUENCE_END bool_false_true: [ true, false ]")}
      ${control("id", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64")}
      ${state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 3 ] data_file: "six" }')}
      state { input_name: "words" output_name: "next_words" data_type: TYPE_STRING dims: [ 2 ]
        initial_state { name: "w" data_type: TYPE_STRING dims: [ 2 ] data_file: "two" } }
    }
    parameters { key: "sequence_state_limit_mib" value { string_value: "3" } }`,
  );
  t.deepEqual(plan.strategy, {
    kind: "oldest",
    batch: { maxRows: 8, preferredRows: [2, 4], maxDelayMs: 0.5 },
    preserveOrder: true,
  });
  t.like(plan, { slotsPerInstance: 20, idleMs: 2.5, stateLimitBytes: 3 * 1024 * 1024 });
  const { start, ready, end, id } = plan.controls;
  t.deepEqual([start!.datatype, [...start!.yes]], ["INT32", [1, 0, 0, 0]]);
  t.deepEqual(new Float32Array(ready!.no.buffer)[0], -1.5);
  t.deepEqual([end!.datatype, [...end!.no], [...end!.yes]], ["BOOL", [1], [0]]);
  t.deepEqual(id, { input: "id", datatype: "UINT64" });
  const [first, words] = plan.states;
  t.deepEqual(first!.initial.shape, [1, 2, 3]);
  t.deepEqual([...new Float32Array(first!.initial.bytes!.buffer)], [1, 2, 3, 4, 5, 6]);
  t.deepEqual(
    words!.initial.elements!.map((element) => Buffer.from(element).toString()),
    ["hi", ""],
  );
  t.deepEqual(
    fedPorts(plan).map(({ name, datatype, shape }) => `${name} ${datatype} ${shape}`),
    [
      "start INT32 -1,1",
      "ready FP32 -1,1",
      "end BOOL -1,1",
      "id UINT64 -1,1",
      "state FP32 -1,2,-1",
      "words BYTES -1,2",
    ],
  );
  const config = fromText(ModelConfigSchema, 'output { name: "y" } output { name: "next" }');
  const visible = visiblePorts(plan, config, declared);
  t.deepEqual(
    visible.inputs.map(({ name }) => name),
    ["x", "fixed", "wide"],
  );
  t.deepEqual(
    visible.outputs.map(({ name }) => name),
    ["y", "next"],
  );
});

test("without initial_state a state starts as zeros, with 1 in place of free sizes", async (t) => {
  const plan = await read("", `sequence_batching { ${state("")} }`);
  t.deepEqual(plan.states[0]!.initial.shape, [1, 2, 1]);
  t.deepEqual([...plan.states[0]!.initial.bytes!], Array(8).fill(0));
});

const refused: readonly (readonly [string, string, RegExp])[] = [
  ["iterative sequences", "iterative_sequence: true", /iterative_sequence.*not served/],
  ["an unfit utilization", "direct { minimum_slot_utilization: 1.5 }", /1\.5, expected 0 to 1/],
  [
    "a preferred size above the maximum",
    "oldest { preferred_batch_size: 9 }",
    /9, expected 1 to max/,
  ],
  ["negative candidates", "oldest { max_candidate_sequences: -1 }", /max_candidate_sequences -1/],
  [
    "a kind twice",
    `${startControl} ${startControl.replace('"start"', '"wide"')}`,
    /CONTROL_SEQUENCE_START both in control_input "start" and in "wide"/,
  ],
  [
    "an input for two kinds",
    `${startControl} ${startControl.replace("_START", "_END")}`,
    /"start" more than once/,
  ],
  ["no values", control("start", "kind: CONTROL_SEQUENCE_START"), /one of int32_false_true/],
  ["one value", control("start", "kind: CONTROL_SEQUENCE_START int32_false_true: 1"), /two values/],
  [
    "two kinds of values",
    control(
      "start",
      "kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] bool_false_true: [ false, true ]",
    ),
    /one of int32_false_true/,
  ],
  [
    "an id without a datatype",
    control("id", "kind: CONTROL_SEQUENCE_CORRID"),
    /TYPE_UINT64, TYPE_INT64/,
  ],
  [
    "an id of a datatype that ids do not have",
    control("id", "kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32"),
    /TYPE_UINT64, TYPE_INT64/,
  ],
  [
    "a control that the model does not have",
    startControl.replace('"start"', '"begin"'),
    /control_input "begin", the model has "x"/,
  ],
  [
    "a control of another datatype",
    control("start", "kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ]"),
    /FP32, the model declares INT32/,
  ],
  [
    "a control of another shape",
    startControl.replace('"start"', '"wide"'),
    /\[-1,1\], the model declares \[-1,2\]/,
  ],
  [
    "a control without a free batch dimension",
    startControl.replace('"start"', '"fixed"'),
    /without a free first dimension/,
  ],
  [
    "a state of another datatype",
    state("").replace("TYPE_FP32", "TYPE_INT32"),
    /INT32, the model declares FP32/,
  ],
  [
    "a state of another shape",
    state("").replace("[ 2, -1 ]", "[ 3, -1 ]"),
    /\[-1,3,-1\], the model declares \[-1,2,-1\]/,
  ],
  ["a state twice", `${state("")} ${state("")}`, /two states with input_name "state"/],
  [
    "a state output that is not there",
    state("").replace('"next"', '"after"'),
    /state output "after", the model has/,
  ],
  [
    "a state that is a control",
    `${startControl} ${state("").replace('"state"', '"start"')}`,
    /both as a control_input and as a state/,
  ],
  ["growable memory", state("use_growable_memory: true"), /KIND_GPU/],
  [
    "an initial state without a name",
    state("initial_state { data_type: TYPE_FP32 dims: [ 2, 1 ] zero_data: true }"),
    /without a name/,
  ],
  [
    "an initial state of another datatype",
    state('initial_state { name: "s" data_type: TYPE_INT32 dims: [ 2, 1 ] zero_data: true }'),
    /another data_type/,
  ],
  [
    "an initial state of free size",
    state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, -1 ] zero_data: true }'),
    /expected fixed sizes/,
  ],
  [
    "an initial state of another size",
    state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 3, 1 ] zero_data: true }'),
    /\[3,1\], its own are \[2,-1\]/,
  ],
  [
    "an initial state of nothing",
    state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 1 ] }'),
    /neither zero_data nor data_file/,
  ],
  [
    "an initial state that no memory holds",
    state(
      'initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 4000000000 ] zero_data: true }',
    ),
    /at most 1073741824 bytes/,
  ],
  [
    "a file elsewhere",
    state(
      'initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 1 ] data_file: "../1/model.onnx" }',
    ),
    /without a path/,
  ],
  [
    "a file that is not there",
    state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 1 ] data_file: "none" }'),
    /cannot be read from initial_state\//,
  ],
  [
    "a file of another size",
    state('initial_state { name: "s" data_type: TYPE_FP32 dims: [ 2, 1 ] data_file: "six" }'),
    /24 bytes, expected 8/,
  ],
];

for (const [what, text, message] of refused) {
  test(`${what} is refused by name`, async (t) => {
    const folder = await temporaryFolder(t, { "initial_state/six": new Uint8Array(24) });
    await t.throwsAsync(read(folder, `sequence_batching { ${text} }`), { message });
  });
}

test("an input that callers would send and the server feeds is refused", async (t) => {
  const text = `sequence_batching { ${startControl} } input { name: "start" data_type: TYPE_INT32 dims: 1 }`;
  await t.throwsAsync(read("", text), { message: /"start" among its inputs too/ });
});

test("a limit of states that is no number is refused", async (t) => {
  for (const given of ["0", "much", " ", "1.5"]) {
    const parameter = `parameters { key: "sequence_state_limit_mib" value { string_value: "${given}" } }`;
    await t.throwsAsync(read("", `sequence_batching { } ${parameter}`), {
      message: /expected MiB from 1 on/,
    });
  }
});
