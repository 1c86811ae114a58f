import { readFile } from "node:fs/promises";
import { optimizeSettings } from "../config/optimize-settings.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { optimizationInexact } from "../errors/optimize-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import { optimizeModel, worstDifference } from "../optimize/optimize-model.ts";
import { writeAtomically } from "../optimize/write-atomically.ts";
import type { Command } from "./command.ts";
import { givenFeeds, givenShapes } from "./optimize-inputs.ts";
import { findModel, outputFile } from "./optimize-paths.ts";
import { reportJson, reportText } from "./optimize-report.ts";
import type { Program } from "./program.ts";

/** `tensorwire optimize`. */
export const optimizeCommand: Command = {
  name: "optimize",
  summary: "make a model smaller or faster, and measure what it costs",
  usage: "MODEL",
  description: [
    "Makes a model with the same inputs and outputs whose weights take fewer bits or whose graph has fewer nodes. MODEL is an .onnx file or a model folder.",
    "Runs both models by turns and reports size, speed, and how far each output is from the original's. A model that is further off than --tolerance is not written, and the exit code is 1.",
  ],
  examples: [
    [
      "tensorwire optimize models/digits --quantize int8 --output small/digits",
      "8-bit weights; writes small/digits/1/model.onnx",
    ],
    [
      "tensorwire optimize model.onnx --precision fp16 --output half.onnx --input x=@rows.npy",
      "16-bit floats, compared on rows of your own",
    ],
    [
      "tensorwire optimize model.onnx --graph extended --quantize int8",
      "tries it and writes nothing",
    ],
  ],
  settings: optimizeSettings,
  run: optimize,
};

async function optimize(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile: readSettings, stdout } = program;
  const { values, positionals } = resolveSettings(optimizeSettings, {
    argv,
    env,
    readFile: readSettings,
    foreign: allFlags,
  });
  const [path, ...others] = positionals;
  if (path === undefined || others.length > 0) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `got ${positionals.length} arguments, expected one: an .onnx file or a model folder, as in tensorwire optimize models/digits --quantize int8`,
      {},
    );
  }
  checkChanges(values);
  const tolerance = toleranceOf(values.tolerance);
  const model = findModel(path);
  const output =
    values.output === undefined
      ? undefined
      : outputFile(values.output, model, values.overwrite ? "replace" : "keep");
  const result = await optimizeModel(
    model.name,
    await readModel(model.file),
    {
      graph: values.graph,
      quantize: values.quantize,
      convolutions: values["quantize-conv"],
      precision: values.precision,
      keepFp32: new Set(values["keep-fp32"]),
    },
    {
      given: (inputs) => givenFeeds(model.name, inputs, values.input),
      shapes: givenShapes(values.shape),
      seed: values.seed,
      batch: values.batch,
      threads: values.threads,
      measureMs: values.measure,
    },
  );
  const worst = worstDifference(result.differences);
  const exact = worst === undefined || worst.relative <= tolerance;
  const written = exact ? output : undefined;
  if (written !== undefined) await writeAtomically(written, result.bytes);
  const verdict = !exact ? "inexact" : written === undefined ? "not asked" : "written";
  const report = { model: model.name, verdict, written, tolerance, result } as const;
  stdout.write(values.json ? `${reportJson(report)}\n` : reportText(report));
  if (!exact) throw optimizationInexact(model.name, worst.output, worst.relative, tolerance);
  return exitCodes.ok;
}

async function readModel(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `got model ${file}, which cannot be read: ${messageOf(error)}; expected an ONNX file of less than 2 GiB and the right to read it`,
      { path: file },
      { cause: error },
    );
  }
}

function checkChanges({
  graph,
  quantize,
  precision,
}: SettingValues<typeof optimizeSettings>): void {
  if (graph === "none" && quantize === "none" && precision === "fp32") {
    throw new TensorwireError(
      "SETTING_INVALID",
      "got no change to make, expected one at least: --graph basic, --quantize int8 or --precision fp16",
      {},
    );
  }
  if (precision === "fp16" && (graph === "extended" || graph === "all")) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `flag --graph: got ${graph} with --precision fp16, expected none or basic; ONNX Runtime would write the 16-bit weights back as 32 bits for this CPU`,
      {},
    );
  }
}

function toleranceOf(text: string): number {
  const value = /^\d*\.?\d+(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw new TensorwireError(
    "SETTING_INVALID",
    `flag --tolerance: got ${JSON.stringify(text)}, expected a number from 0 such as 0.01`,
    {},
  );
}
