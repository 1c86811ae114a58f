import { readFileSync } from "node:fs";
import { inferSettings } from "../config/client-settings.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import type { Command } from "./command.ts";
import { inferInputs } from "./infer-inputs.ts";
import type { Program } from "./program.ts";
import { connectServer } from "./server-client.ts";
import { resultJson } from "./tensor-json.ts";
import { classesText, tensorText } from "./tensor-text.ts";

/** `tensorwire infer`. */
export const inferCommand: Command = {
  name: "infer",
  summary: "call a model and show what it answers",
  usage: "MODEL --input NAME=VALUE",
  description: [
    "Calls a model of a running server over gRPC. Datatypes come from the model. So does the shape, where a value is a plain row of numbers: 8 numbers for an input of shape [-1,4] are two rows.",
    "Values of a .npy file are converted to the model's datatype where it can hold them.",
  ],
  examples: [
    ["tensorwire infer iris --input input=5.1,3.5,1.4,0.2", "one row"],
    ["tensorwire infer iris --input 'input=[[5.1,3.5,1.4,0.2],[6.7,3,5.2,2.3]]'", "two rows"],
    [
      "tensorwire infer digits --input image=@image.npy --json",
      "a NumPy file; answer for programs",
    ],
    [
      "tensorwire infer iris --input input=@rows.json --output probabilities --classes 2",
      "a JSON file; the two best classes of one output",
    ],
  ],
  settings: inferSettings,
  run: infer,
};

async function infer(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile, stdout } = program;
  const { values, positionals } = resolveSettings(inferSettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  const [model, ...others] = positionals;
  if (model === undefined || others.length > 0) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `got ${positionals.length} arguments, expected one: the name of a model, as in tensorwire infer iris --input input=5.1,3.5,1.4,0.2`,
      {},
    );
  }
  const version = values["model-version"];
  const modelOptions = version === undefined ? {} : { modelVersion: version };
  const client = connectServer(values);
  try {
    const metadata = await client.modelMetadata(model, modelOptions);
    const inputs = inferInputs(metadata, values.input, (path) => readFileSync(path));
    const wanted =
      values.classes > 0 && values.output.length === 0
        ? metadata.outputs.map(({ name }) => name)
        : values.output;
    const begun = performance.now();
    const result = await client.infer(model, inputs, {
      ...modelOptions,
      outputs: wanted.map((name) => ({
        name,
        ...(values.classes > 0 ? { classification: values.classes } : {}),
      })),
    });
    const latencyMs = performance.now() - begun;
    if (values.json) {
      stdout.write(`${resultJson(result, latencyMs)}\n`);
      return exitCodes.ok;
    }
    const outputs = Object.entries(result.outputs).map(([name, output]) =>
      values.classes > 0 ? classesText(name, output) : tensorText(name, output),
    );
    const of = result.modelVersion === "" ? "" : ` version ${result.modelVersion}`;
    stdout.write(
      `${result.modelName}${of} answered in ${latencyMs.toFixed(1)} ms\n\n${outputs.join("\n\n")}\n`,
    );
    return exitCodes.ok;
  } finally {
    client.close();
  }
}
