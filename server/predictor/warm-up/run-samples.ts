import { messageOf } from "../../errors/from-unknown.ts";
import { modelLoadFailed } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { type Tensor, tensorByteLength } from "../../tensor/tensor.ts";
import { noOptions } from "../call-options.ts";
import type { EngineModel } from "../engines/engine.ts";
import type { Executor, TensorCall } from "../executor.ts";
import type { ConfiguredSample } from "./configured-samples.ts";

/**
 * Warms an engine up by the samples of a configuration: it is placed by them, and then every instance runs each
 * as often as it says.
 *
 * @returns the outputs of the smallest one
 * @throws TensorwireError `MODEL_LOAD_FAILED` that names the sample
 */
export async function warmUpConfigured(
  model: string,
  engine: EngineModel,
  samples: readonly ConfiguredSample[],
): Promise<readonly Tensor[]> {
  const bySize = samples.toSorted((a, b) => sizeOf(a) - sizeOf(b));
  let outputs: readonly Tensor[];
  try {
    outputs = await engine.warmUp(bySize.map(({ inputs }) => inputs));
  } catch (error) {
    throw sampleFailed(model, samples.length === 1 ? samples[0]! : { name: "model_warmup" }, error);
  }
  await runOnEngine(model, engine, samples);
  return outputs;
}

function sizeOf({ inputs }: ConfiguredSample): number {
  return inputs.reduce((sum, input) => sum + tensorByteLength(input), 0);
}

async function runOnEngine(
  model: string,
  engine: EngineModel,
  samples: readonly ConfiguredSample[],
): Promise<void> {
  const outputNames = engine.outputs.map(({ name }) => name);
  for (const sample of samples) {
    for (let run = 0; run < sample.runs; run++) {
      // As many runs at once as there are instances: each of them gets one.
      const runs = Array.from({ length: engine.instances }, () =>
        engine.run(sample.inputs, outputNames),
      );
      await Promise.all(runs).catch((error: unknown) => {
        throw sampleFailed(model, sample, error);
      });
    }
  }
}

/**
 * Runs samples as calls of a model.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED` that names the sample
 */
export async function runAsCalls(
  model: string,
  executor: Executor,
  outputNames: readonly string[],
  samples: readonly ConfiguredSample[],
): Promise<void> {
  for (const sample of samples) {
    const { inputs, rows } = sample;
    try {
      for (let run = 0; run < sample.runs; run++)
        await runCall(executor, { inputs, outputNames, rows, options: noOptions });
    } catch (error) {
      throw sampleFailed(model, sample, error);
    }
  }
}

async function runCall(executor: Executor, call: TensorCall): Promise<void> {
  if (!executor.stream) {
    await executor.execute(patient, call);
    return;
  }
  for await (const answer of executor.stream(patient, call)) void answer;
}

/** Whoever loads a model waits for it. */
const patient: CallAbort = { aborted: undefined, onAbort() {} };

/** What a load hears of a sample that failed. */
function sampleFailed(
  model: string,
  { name }: Pick<ConfiguredSample, "name">,
  error: unknown,
): Error {
  return modelLoadFailed(model, `${name} failed: ${messageOf(error)}`, error);
}
