import { fromText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { providerText } from "../../../server/predictor/engines/onnx/execution-providers.ts";
import {
  type ModelRuntime,
  type RuntimeDefaults,
  readRuntime,
} from "../../../server/predictor/model-config/read-runtime.ts";

const onCpu: RuntimeDefaults = { providers: [], graphLevel: "layout" };
const onCuda: RuntimeDefaults = { providers: [{ name: "cuda", device: 2 }], graphLevel: "all" };

const read = (text: string, defaults = onCpu): ModelRuntime =>
  readRuntime("m", fromText(ModelConfigSchema, text), defaults);

const placesOf = (text: string, defaults = onCpu): string[] =>
  read(text, defaults).instances.map(
    ({ providers }) => providers.map(providerText).join("+") || "cpu",
  );

test("without a configuration the server's settings hold, for one instance", (t) => {
  t.deepEqual(readRuntime("m", undefined, onCuda), {
    instances: [
      {
        providers: [{ name: "cuda", device: 2 }],
        graphLevel: "all",
        executionMode: "sequential",
        interOpThreads: 1,
        memoryArena: true,
        memoryPattern: true,
        deviceInitializers: false,
      },
    ],
    intraOpThreads: undefined,
  });
});

test("graph levels are Triton's numbers", (t) => {
  const level = (number: number): string | undefined =>
    read(`optimization { graph { level: ${number} } }`).instances[0]?.graphLevel;
  t.deepEqual([-1, 0, 1, 2, 3].map(level), ["basic", "all", "extended", "disabled", "all"]);
  t.is(read("").instances[0]?.graphLevel, "layout");
});

test("parameters of Triton's backend are read, and others left alone", (t) => {
  const parameters = (values: Record<string, string>): string =>
    Object.entries(values)
      .map(([key, value]) => `parameters { key: "${key}" value { string_value: "${value}" } }`)
      .join("\n");
  const { instances, intraOpThreads } = read(
    parameters({
      intra_op_thread_count: "3",
      inter_op_thread_count: "2",
      execution_mode: "1",
      enable_mem_arena: "0",
      enable_mem_pattern: "false",
      "session.use_device_allocator_for_initializers": "1",
      // Of a GPU, which is not asked for.
      gpu_mem_limit: "1000",
      something: "else",
    }),
  );
  t.is(intraOpThreads, 3);
  t.like(instances[0], {
    executionMode: "parallel",
    interOpThreads: 2,
    memoryArena: false,
    memoryPattern: false,
    deviceInitializers: true,
  });
  t.is(read(parameters({ intra_op_thread_count: "0" })).intraOpThreads, undefined);
  for (const [name, value] of [
    ["intra_op_thread_count", "-1"],
    ["intra_op_thread_count", "1000"],
    ["inter_op_thread_count", "two"],
    ["execution_mode", "2"],
    ["enable_mem_arena", "maybe"],
  ] as const) {
    const error = t.throws(() => read(parameters({ [name]: value })), {
      instanceOf: TensorwireError,
    });
    t.is(error?.reason, "MODEL_CONFIG_INVALID");
    t.true(error?.message.includes(name) && error.message.includes(value), error?.message);
  }
});

test("groups say where instances run: each GPU has as many as the group counts", (t) => {
  t.deepEqual(placesOf("instance_group [ { count: 2 kind: KIND_CPU } ]", onCuda), ["cpu", "cpu"]);
  t.deepEqual(placesOf("instance_group [ { count: 2 } ]", onCuda), ["cuda:2", "cuda:2"]);
  t.deepEqual(placesOf("instance_group [ { count: 2 } ]"), ["cpu", "cpu"]);
  t.deepEqual(placesOf("instance_group [ { kind: KIND_GPU count: 2 gpus: [ 0, 3 ] } ]"), [
    "cuda:0",
    "cuda:0",
    "cuda:3",
    "cuda:3",
  ]);
  t.deepEqual(placesOf("instance_group [ { kind: KIND_GPU } ]", onCuda), ["cuda:2"]);
  t.deepEqual(
    placesOf(
      "instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU }, { count: 9 passive: true } ]",
    ),
    ["cpu", "cuda:0"],
  );
  for (const group of [
    "count: -1",
    "count: 65",
    "kind: KIND_GPU gpus: [ 0, 1 ] count: 33",
    "kind: KIND_GPU gpus: [ -1 ]",
  ]) {
    const error = t.throws(() => read(`instance_group [ { ${group} } ]`), {
      instanceOf: TensorwireError,
    });
    t.is(error?.reason, "MODEL_CONFIG_INVALID", group);
  }
});

test("accelerators come before CUDA, which comes before the CPU", (t) => {
  const accelerator = (kind: string, inner: string): string =>
    `optimization { execution_accelerators { ${kind}_execution_accelerator: [ { ${inner} } ] } }`;
  const trt = accelerator("gpu", 'name: "tensorrt"');
  t.deepEqual(placesOf(trt), ["tensorrt:0+cuda:0"]);
  t.deepEqual(placesOf(trt, onCuda), ["tensorrt:2+cuda:2"]);
  t.deepEqual(placesOf(`${trt} instance_group [ { kind: KIND_GPU gpus: [ 1 ] } ]`), [
    "tensorrt:1+cuda:1",
  ]);
  // What is for a GPU does not concern an instance on the CPU.
  t.deepEqual(placesOf(`${trt} instance_group [ { kind: KIND_CPU } ]`), ["cpu"]);
  t.deepEqual(placesOf(accelerator("gpu", 'name: "cuda"')), ["cuda:0"]);
  t.deepEqual(placesOf(accelerator("cpu", 'name: "openvino"')), ["openvino"]);
  const unknown = t.throws(() => read(accelerator("gpu", 'name: "npu"')), {
    instanceOf: TensorwireError,
    message: /"npu", expected tensorrt or cuda/,
  });
  t.is(unknown?.reason, "MODEL_CONFIG_INVALID");
});

test("options of a GPU that onnxruntime-node does not pass on are refused, a memory limit among them", (t) => {
  const gpu = "instance_group [ { kind: KIND_GPU } ]";
  for (const option of [
    'parameters { key: "gpu_mem_limit" value { string_value: "1000" } }',
    'optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "cuda" parameters { key: "gpu_mem_limit" value: "1000" } } ] } }',
  ]) {
    const error = t.throws(() => read(`${gpu} ${option}`), {
      instanceOf: TensorwireError,
      message: /"gpu_mem_limit".* cannot be acted on/,
    });
    t.is(error?.reason, "MODEL_UNSUPPORTED");
  }
});
