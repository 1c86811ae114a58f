import { fromText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import type { DeclaredPort } from "../../../server/predictor/engines/engine.ts";
import {
  type ConfiguredSample,
  readConfiguredSamples,
} from "../../../server/predictor/warm-up/configured-samples.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const port = (
  name: string,
  datatype: DeclaredPort["datatype"],
  shape: readonly number[],
  optional = false,
): DeclaredPort => ({ name, datatype, shape, optional, labels: [] });

const x = port("x", "FP32", [-1, 2]);
const text = port("text", "BYTES", [-1, 2]);

async function read(
  config: string,
  inputs: readonly DeclaredPort[] = [x],
  folder = "/nowhere",
  fed: readonly DeclaredPort[] = [],
): Promise<readonly ConfiguredSample[]> {
  const model = { name: "m", folder, inputs, fed };
  return readConfiguredSamples(model, fromText(ModelConfigSchema, config));
}

const floats = (sample: ConfiguredSample | undefined, input = 0): number[] => [
  ...new Float32Array(new Uint8Array(sample!.inputs[input]!.bytes!).buffer),
];

const input = (key: string, type: string, dims: string, data: string): string =>
  `inputs { key: "${key}" value { data_type: ${type} dims: [ ${dims} ] ${data} } }`;

test("zeros, random data and a file give the rows that batch_size says, and count the runs", async (t) => {
  const folder = await temporaryFolder(t, {
    "warmup/values": new Uint8Array(Float32Array.of(3, 4, 5).buffer),
  });
  const samples = await read(
    `max_batch_size: 4
    model_warmup { name: "zeros" batch_size: 1 ${input("x", "TYPE_FP32", "2", "zero_data: true")} }
    model_warmup { name: "noise" batch_size: 2 count: 5 ${input("x", "TYPE_FP32", "2", "random_data: true")} }
    model_warmup { batch_size: 3 ${input("x", "TYPE_FP32", "2", 'input_data_file: "values"')} }
    model_warmup { name: "none" ${input("x", "TYPE_FP32", "2", "zero_data: true")} }`,
    [x],
    folder,
  );
  t.deepEqual(
    samples.map(({ name, rows, runs, inputs }) => [name, rows, runs, inputs[0]!.shape]),
    [
      ['model_warmup "zeros"', 1, 1, [1, 2]],
      ['model_warmup "noise"', 2, 5, [2, 2]],
      ["model_warmup 3", 3, 1, [3, 2]],
    ],
  );
  t.deepEqual(floats(samples[0]), [0, 0]);
  const noise = floats(samples[1]);
  t.true(noise.every((value) => value >= 0 && value < 1) && new Set(noise).size > 1);
  // One row, repeated; what the file has beyond it is left.
  t.deepEqual(floats(samples[2]), [3, 4, 3, 4, 3, 4]);
});

test("strings of a file stand behind their lengths; made up ones are empty", async (t) => {
  const folder = await temporaryFolder(t, {
    "warmup/more/words": Buffer.from("\x02\0\0\0hi\0\0\0\0", "latin1"),
  });
  const [words, noise] = await read(
    `max_batch_size: 2
    model_warmup { batch_size: 2 ${input("text", "TYPE_STRING", "2", 'input_data_file: "more/words"')} }
    model_warmup { batch_size: 1 ${input("text", "TYPE_STRING", "2", "random_data: true")} }`,
    [text],
    folder,
  );
  const strings = (sample: ConfiguredSample | undefined): string[] =>
    sample!.inputs[0]!.elements!.map((element) => Buffer.from(element).toString());
  t.deepEqual(strings(words), ["hi", "", "hi", ""]);
  t.deepEqual(strings(noise), ["", ""]);
});

test("without batches dims are all there is, and each of batch_size is a run", async (t) => {
  const [sample] = await read(
    `model_warmup { name: "s" batch_size: 3 count: 2 ${input("x", "TYPE_FP32", "5, 2", "zero_data: true")} }`,
  );
  t.deepEqual([sample?.rows, sample?.runs, sample?.inputs[0]?.shape], [1, 6, [5, 2]]);
});

test("inputs that the server feeds are zeros unless the sample has them; optional ones are left out", async (t) => {
  const start = port("START", "INT32", [-1, 1]);
  const samples = await read(
    `max_batch_size: 2
    model_warmup { batch_size: 2 ${input("x", "TYPE_FP32", "2", "zero_data: true")} }
    model_warmup { batch_size: 1 ${input("x", "TYPE_FP32", "2", "zero_data: true")} ${input("START", "TYPE_INT32", "1, 1", "zero_data: true")} }`,
    [x, port("bias", "FP32", [1], true)],
    "/nowhere",
    [start],
  );
  t.deepEqual(
    samples.map(({ inputs }) => inputs.map(({ name, shape }) => [name, shape])),
    [
      [
        ["x", [2, 2]],
        ["START", [2, 1]],
      ],
      [
        ["x", [1, 2]],
        ["START", [1, 1]],
      ],
    ],
  );
});

const refused: Readonly<Record<string, readonly [sample: string, message: RegExp]>> = {
  "a file outside the folder": [
    input("x", "TYPE_FP32", "2", 'input_data_file: "../values"'),
    /"s" whose input "x" has input_data_file "\.\.\/values", expected a path within the folder warmup/,
  ],
  "an absolute path": [
    input("x", "TYPE_FP32", "2", 'input_data_file: "/etc/passwd"'),
    /expected a path within the folder warmup/,
  ],
  "a file that is not there": [
    input("x", "TYPE_FP32", "2", 'input_data_file: "gone"'),
    /"gone", which cannot be read from warmup/,
  ],
  "a file that is too short": [
    input("x", "TYPE_FP32", "2", 'input_data_file: "short"'),
    /"short" of 4 bytes, expected 8/,
  ],
  "a free dimension": [
    input("x", "TYPE_FP32", "-1", "zero_data: true"),
    /dims \[-1\], expected sizes/,
  ],
  "another shape": [
    input("x", "TYPE_FP32", "3", "zero_data: true"),
    /has shape \[1,3\], the model's is \[-1,2\]/,
  ],
  "another datatype": [input("x", "TYPE_INT32", "2", "zero_data: true"), /another data_type/],
  "no data": [input("x", "TYPE_FP32", "2", ""), /none of zero_data, random_data/],
  "an unknown input": [
    `${input("x", "TYPE_FP32", "2", "zero_data: true")} ${input("y", "TYPE_FP32", "2", "zero_data: true")}`,
    /input "y", which the model does not have/,
  ],
  "an input left out": ["", /without input "x"/],
};

for (const [what, [sample, message]] of Object.entries(refused)) {
  test(`${what} is refused with sample and input`, async (t) => {
    const folder = await temporaryFolder(t, { "warmup/short": "1234", values: "12345678" });
    const config = `max_batch_size: 2 model_warmup { name: "s" batch_size: 1 ${sample} }`;
    const error = await t.throwsAsync(read(config, [x], folder), {
      instanceOf: TensorwireError,
      message,
    });
    t.is(error?.reason, "MODEL_CONFIG_INVALID");
  });
}

test("a batch above the maximum, and runs without end, are refused", async (t) => {
  const zeros = input("x", "TYPE_FP32", "2", "zero_data: true");
  await t.throwsAsync(read(`max_batch_size: 2 model_warmup { batch_size: 3 ${zeros} }`), {
    message: /batch_size 3, expected at most max_batch_size, which is 2/,
  });
  await t.throwsAsync(
    read(`max_batch_size: 2 model_warmup { batch_size: 1 count: 4000000000 ${zeros} }`),
    { message: /4000000000 runs, expected at most 10000/ },
  );
});
