import type { Log } from "../../observability/log.ts";
import type { ModelEntry } from "./model-entry.ts";
import type { ModelLoader } from "./model-loader.ts";
import { untried } from "./recall.ts";
import { fingerprint } from "./scan.ts";
import type { SettledFiles } from "./settled-files.ts";

/** What becomes of models that were not there before. */
export type NewModels = "load" | "stand by";

/** What following the folders works with. */
export interface FollowOptions {
  /** Models whose folder is there. */
  readonly present: ReadonlySet<string>;
  readonly newModels: NewModels;
  readonly files: SettledFiles;
  readonly loader: ModelLoader;
  readonly load: (model: string) => Promise<void>;
  /** Unloads a model and forgets it. */
  readonly remove: (entry: ModelEntry) => Promise<void>;
  readonly log: Log;
}

/**
 * Compares the folders with what is loaded: new models are loaded, changed ones loaded again, those whose
 * folder went unloaded. A change counts once two looks in a row see the same files, so that a copy in progress
 * is left alone. Failures are logged and show in the index.
 */
export async function followFolders(
  models: Iterable<ModelEntry>,
  options: FollowOptions,
): Promise<void> {
  const { present, files, log } = options;
  for (const entry of models) {
    const { name } = entry;
    if (entry.upload) continue;
    if (!present.has(name)) {
      log.info({ model: name }, "the model's folder went; it is unloaded");
      await options.remove(entry);
      continue;
    }
    const now = await fingerprint(entry.folder);
    if (files.look(name, entry.fingerprint, now) !== "settled") continue;
    await follow(entry, options).catch(() => {
      // The loader has logged it, and the index shows it.
    });
  }
}

/** Takes up a change of a model's files. */
async function follow(
  entry: ModelEntry,
  { newModels, loader, load }: FollowOptions,
): Promise<void> {
  const { recall } = entry;
  const isNew = entry.versions.length === 0 && newModels === "stand by";
  if (!isNew && (!recall || entry.isLoaded)) {
    await load(entry.name);
    return;
  }
  // What is not in memory is not loaded for it: the next call takes the new files.
  await entry.exclusive(async () => {
    const plan = await loader.plan(entry, undefined);
    if (entry.isLoaded) return;
    // What was known of the files before says nothing of these.
    for (const version of entry.versions) entry.forget(version);
    loader.standBy(entry, plan);
    entry.recall = untried(plan, recall?.before ?? recall?.plan);
  });
}
