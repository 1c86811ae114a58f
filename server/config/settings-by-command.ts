import { inferSettings, modelsSettings } from "./client-settings.ts";
import { serveSettings } from "./serve-settings.ts";
import type { Settings } from "./setting.ts";

/** Declared settings of every command that has some. */
export const settingsByCommand = {
  serve: serveSettings,
  infer: inferSettings,
  models: modelsSettings,
} as const satisfies Readonly<Record<string, Settings>>;

/** Flags of all commands: their variables are known, whichever command runs. */
export const allFlags: readonly string[] = [
  ...new Set(Object.values(settingsByCommand).flatMap((settings) => Object.keys(settings))),
];
