import { create, type MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import {
  type EnsemblePlan,
  neededSteps,
  planEnsemble,
} from "../../../server/predictor/ensemble/ensemble-plan.ts";
import type { ModelSignature, TensorSpec } from "../../../server/predictor/signature.ts";
import type { Datatype } from "../../../server/tensor/datatype.ts";

function spec(
  name: string,
  datatype: Datatype = "FP32",
  shape: readonly number[] = [-1],
): TensorSpec {
  return { name, datatype, shape, optional: false, labels: [] };
}

function signature(inputs: readonly TensorSpec[], outputs: readonly TensorSpec[]): ModelSignature {
  return { inputs, outputs, maxBatchSize: 0 };
}

const models: Readonly<Record<string, ModelSignature>> = {
  one: signature([spec("x")], [spec("y")]),
  two: signature([spec("a"), { ...spec("b"), optional: true }], [spec("sum"), spec("difference")]),
  text: signature([spec("x", "BYTES")], [spec("y", "BYTES")]),
  wide: signature([spec("x", "FP32", [-1, 4])], [spec("y", "FP32", [-1, 4])]),
  four: signature([spec("x", "FP32", [4])], [spec("y", "FP32", [4])]),
};

type Step = readonly [
  model: string,
  inputs: Readonly<Record<string, string>>,
  outputs: Readonly<Record<string, string>>,
];

function plan(
  steps: readonly Step[],
  given: ModelSignature = signature([spec("in")], [spec("out")]),
): EnsemblePlan {
  const value: MessageInitShape<typeof ModelConfigSchema> = {
    name: "graph",
    schedulingChoice: {
      case: "ensembleScheduling",
      value: {
        step: steps.map(([modelName, inputMap, outputMap]) => ({
          modelName,
          modelVersion: -1n,
          inputMap: { ...inputMap },
          outputMap: { ...outputMap },
        })),
      },
    },
  };
  return planEnsemble(create(ModelConfigSchema, value), given, (step) => models[step.model]!);
}

const refused = test.macro(
  (t, steps: readonly Step[], message: RegExp, given?: ModelSignature): void => {
    const error = t.throws(() => plan(steps, given), { instanceOf: TensorwireError });
    t.is(error?.reason, "MODEL_CONFIG_INVALID");
    t.regex(error?.message ?? "", message);
  },
);

test("steps come after those that they take from, however the configuration lists them", (t) => {
  const { steps, producers } = plan([
    ["two", { a: "left", b: "right" }, { sum: "out" }],
    ["one", { x: "middle" }, { y: "left" }],
    ["one", { x: "in" }, { y: "middle" }],
    ["one", { x: "middle" }, { y: "right" }],
  ]);
  const order = steps.map(({ outputs }) => [...outputs.values()][0]);
  t.is(order[0], "middle");
  t.is(order[3], "out");
  t.deepEqual([...producers.keys()].sort(), ["left", "middle", "out", "right"]);
  t.true([...steps.keys()].every((index) => steps[index]!.version === ""));
});

test("only the steps that requested outputs need are needed", (t) => {
  const made = plan(
    [
      ["one", { x: "in" }, { y: "out" }],
      ["one", { x: "out" }, { y: "further" }],
      ["one", { x: "in" }, { y: "apart" }],
    ],
    signature([spec("in")], [spec("out"), spec("further"), spec("apart")]),
  );
  const needed = (...outputs: string[]): string[] =>
    neededSteps(made, outputs).flatMap((index) => [...made.steps[index]!.outputs.values()]);
  t.deepEqual(needed("out"), ["out"]);
  t.deepEqual(needed("further"), ["out", "further"]);
  t.deepEqual(needed("apart"), ["apart"]);
  t.deepEqual(needed("apart", "further").toSorted(), ["apart", "further", "out"]);
});

test("an optional input may be left out, and an input of the ensemble may be its output", (t) => {
  t.is(plan([["two", { a: "in" }, { difference: "out" }]]).steps.length, 1);
  const passed = plan(
    [["one", { x: "in" }, { y: "out" }]],
    signature([spec("in")], [spec("out"), spec("in2")].slice(0, 1)),
  );
  t.deepEqual(neededSteps(passed, ["in"]), []);
});

test("no step", refused, [], /ensemble without a step/);

test(
  "two makers of a tensor",
  refused,
  [
    ["one", { x: "in" }, { y: "out" }],
    ["one", { x: "in" }, { y: "out" }],
  ],
  /tensor "out" made by step 1 \(one\) and by step 2 \(one\)/,
);

test(
  "a step that makes an input",
  refused,
  [["one", { x: "in" }, { y: "in" }]],
  /made by the ensemble's input "in" and by step 1/,
);

test(
  "an output that nothing makes",
  refused,
  [["one", { x: "in" }, { y: "other" }]],
  /output "out", which no step makes/,
);

test(
  "a step that takes what nothing makes",
  refused,
  [["one", { x: "nowhere" }, { y: "out" }]],
  /step 1 \(one\) take tensor "nowhere", which nothing makes/,
);

test(
  "steps in a circle",
  refused,
  [
    ["two", { a: "in", b: "back" }, { sum: "out" }],
    ["one", { x: "out" }, { y: "back" }],
  ],
  /wait for each other: step 1 \(two\), step 2 \(one\)/,
);

test("a step that feeds itself", refused, [["one", { x: "out" }, { y: "out" }]], /wait for each/);

test(
  "an input of the model that is left out",
  refused,
  [["two", { b: "in" }, { sum: "out" }]],
  /leave out input "a"/,
);

test(
  "an input that the model does not have",
  refused,
  [["one", { x: "in", z: "in" }, { y: "out" }]],
  /feed input "z"/,
);

test(
  "an output that the model does not have",
  refused,
  [["one", { x: "in" }, { z: "out" }]],
  /take output "z"/,
);

test(
  "another datatype",
  refused,
  [["text", { x: "in" }, { y: "out" }]],
  /take "in" \(FP32 \[-1\]\) as its model's input "x" \(BYTES \[-1\]\)/,
);

test("another rank", refused, [["wide", { x: "in" }, { y: "out" }]], /\(FP32 \[-1, ?4\]\)/);

test(
  "another size",
  refused,
  [["four", { x: "in" }, { y: "out" }]],
  /"in" \(FP32 \[3\]\).*"x" \(FP32 \[4\]\)/,
  signature([spec("in", "FP32", [3])], [spec("out", "FP32", [4])]),
);

test(
  "an output declared otherwise than its step makes it",
  refused,
  [["one", { x: "in" }, { y: "out" }]],
  /gives output "out" \(BYTES \[-1\]\), its step makes "out" \(FP32 \[-1\]\)/,
  signature([spec("in")], [spec("out", "BYTES")]),
);
