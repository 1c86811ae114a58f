import { fromText, toText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import type { DeclaredPort } from "../../../server/predictor/engines/engine.ts";
import { completeConfig } from "../../../server/predictor/model-config/complete-config.ts";

const port = (
  name: string,
  datatype: DeclaredPort["datatype"],
  shape: number[] | undefined,
  labels: string[] = [],
): DeclaredPort => ({
  name,
  datatype,
  shape,
  optional: false,
  labels,
});

const declared = {
  inputs: [port("x", "FP32", [-1, 4])],
  outputs: [port("y", "FP32", [-1, 3], ["l0"]), port("z", "BYTES", [-1])],
};

function complete(text: string | undefined, model = declared) {
  return completeConfig(
    "m",
    text === undefined ? undefined : fromText(ModelConfigSchema, text),
    model,
    new Map(),
  );
}

test("without a configuration everything comes from the model", (t) => {
  const { config, signature } = complete(undefined);
  t.deepEqual(signature.inputs, [
    { name: "x", datatype: "FP32", shape: [-1, 4], optional: false, labels: [] },
  ]);
  t.deepEqual(
    signature.outputs.map(({ name, labels }) => [name, labels]),
    [
      ["y", ["l0"]],
      ["z", []],
    ],
  );
  t.is(signature.maxBatchSize, 0);
  const text = toText(ModelConfigSchema, config);
  for (const part of [
    'name: "m"',
    'backend: "onnxruntime"',
    "TYPE_FP32",
    "TYPE_STRING",
    "dims: 4",
    "latest",
  ])
    t.true(text.includes(part), part);
});

test("with a batch dimension dims leave it out, and the shape has it", (t) => {
  const { config, signature } = complete(
    'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 4 }',
  );
  t.is(signature.maxBatchSize, 8);
  t.deepEqual(signature.inputs[0]!.shape, [-1, 4]);
  t.deepEqual(config.input[0]!.dims, [4n]);
  t.deepEqual(
    config.output.map(({ dims }) => dims),
    [[3n], []],
  );
});

test("outputs that a configuration with outputs leaves out are not served", (t) => {
  const { signature } = complete('output { name: "y" data_type: TYPE_FP32 dims: [-1, 3] }');
  t.deepEqual(
    signature.outputs.map(({ name }) => name),
    ["y"],
  );
});

test("dims give the rank that a model does not declare", (t) => {
  const open = { inputs: [port("x", "FP32", undefined)], outputs: declared.outputs };
  t.deepEqual(
    complete('input { name: "x" data_type: TYPE_FP32 dims: [2, -1] }', open).signature.inputs[0]!
      .shape,
    [2, -1],
  );
  t.throws(() => complete(undefined, open), {
    instanceOf: TensorwireError,
    message: /must give dims of input "x"/,
  });
});

for (const [text, message] of [
  ['name: "other"', /has name "other"/],
  ['input { name: "q" data_type: TYPE_FP32 dims: 4 }', /names input "q", the model has "x"/],
  [
    'input { name: "x" data_type: TYPE_INT64 dims: [-1, 4] }',
    /data_type TYPE_INT64, the model declares FP32/,
  ],
  [
    'input { name: "x" data_type: TYPE_FP32 dims: [-1, 5] }',
    /dims \[-1,5\], the model declares \[-1,4\]/,
  ],
  [
    'max_batch_size: 2 input { name: "x" data_type: TYPE_FP32 dims: [-1, 4] }',
    /behind the batch dimension/,
  ],
  ["max_batch_size: -1", /max_batch_size -1/],
  [
    'input { name: "x" data_type: TYPE_FP32 dims: [-1, 4] optional: true }',
    /calls input "x" optional/,
  ],
  ['backend: "python"', /backend "python" is not served/],
  ['platform: "tensorflow_savedmodel"', /platform "tensorflow_savedmodel" is not served/],
  ["ensemble_scheduling { }", /ensemble_scheduling is not served/],
  ["model_transaction_policy { decoupled: true }", /decoupled/],
  [
    'input { name: "x" data_type: TYPE_FP32 dims: [-1, 4] reshape { shape: [4] } }',
    /reshape of "x"/,
  ],
] as const) {
  test(`a configuration of ${text} is refused`, (t) => {
    t.throws(() => complete(text), { instanceOf: TensorwireError, message });
  });
}

test("a batch needs a free first dimension", (t) => {
  const fixed = { inputs: [port("x", "FP32", [1, 4])], outputs: [] };
  t.throws(() => complete("max_batch_size: 2", fixed), {
    instanceOf: TensorwireError,
    message: /without a free first dimension/,
  });
});
