import { fromUnknown } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { modelSettingsFile } from "../model-config/read-model-settings.ts";
import type { MemoryBudget } from "../residency/memory-budget.ts";
import type { ServedModel } from "../served-model.ts";
import type { LoadPlan } from "./load-plan.ts";
import { type LoadContext, loadVersion } from "./load-version.ts";
import { type ForetoldBytes, foretellBytes } from "./model-bytes.ts";
import type { ModelEntry } from "./model-entry.ts";

/**
 * Loads a version within a budget: room is made for what it was seen to take, or else for its files, and again
 * if it takes more.
 *
 * @param budget - `undefined` where models may take any memory
 * @param signal - gives up as long as it waits for memory
 * @throws TensorwireError what {@link loadVersion} and {@link MemoryBudget.makeRoom} throw
 */
export async function loadWithin(
  budget: MemoryBudget | undefined,
  entry: ModelEntry,
  version: string,
  { config, batching }: LoadPlan,
  given: LoadContext,
  signal: AbortSignal,
): Promise<ServedModel> {
  const { folder, name } = entry;
  if (budget) {
    const measured = entry.measured.get(version);
    if (measured !== undefined) await budget.makeRoom(name, measured, signal);
    else await makeForetoldRoom(budget, name, await foretellBytes(folder, version, config), signal);
  }
  const before = entry.state(version);
  const statistics = before?.kind === "recalling" ? before.last?.statistics : undefined;
  const context = { ...given, batching };
  const model = await loadVersion(folder, version, config, context, statistics).catch(
    batching ? blameSettings : blameNobody,
  );
  if (!budget) return model;
  try {
    await budget.makeRoom(name, model.executor.memoryBytes, signal);
    return model;
  } catch (error) {
    await model.retire();
    throw error;
  }
}

/** What lies beside a model need not be its: where there is no room for that, the model itself is tried. */
async function makeForetoldRoom(
  budget: MemoryBudget,
  model: string,
  { least, likely }: ForetoldBytes,
  signal: AbortSignal,
): Promise<void> {
  try {
    await budget.makeRoom(model, likely, signal);
  } catch (error) {
    if (least === likely || fromUnknown(error).reason !== "MODEL_MEMORY_EXCEEDED") throw error;
    await budget.makeRoom(model, least, signal);
  }
}

/** What a configuration is blamed for stands in model-settings.json, if that is where it comes from. */
function blameSettings(thrown: unknown): never {
  const { reason, message, metadata, cause } = fromUnknown(thrown);
  if (reason !== "MODEL_CONFIG_INVALID") throw thrown;
  const renamed = message.replace("config.pbtxt", modelSettingsFile);
  throw new TensorwireError(reason, renamed, metadata, { cause });
}

function blameNobody(thrown: unknown): never {
  throw thrown;
}
