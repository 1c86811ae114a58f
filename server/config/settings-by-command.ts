import { inferSettings, modelsSettings } from "./client-settings.ts";
import { keysSettings } from "./keys-settings.ts";
import { optimizeSettings } from "./optimize-settings.ts";
import { queueProxySettings } from "./queue-proxy-settings.ts";
import { scalerSettings } from "./scaler-settings.ts";
import { serveSettings } from "./serve-settings.ts";
import type { Settings } from "./setting.ts";
import { simulateSettings } from "./simulate-settings.ts";

/** Declared settings of every command that has some. */
export const settingsByCommand = {
  serve: serveSettings,
  infer: inferSettings,
  models: modelsSettings,
  optimize: optimizeSettings,
  keys: keysSettings,
  simulate: simulateSettings,
  scaler: scalerSettings,
  "queue-proxy": queueProxySettings,
} as const satisfies Readonly<Record<string, Settings>>;

/** What scripts of the checkout read as TENSORWIRE_TOOLS and the like, and hand on to what they start. */
const scriptSettings = ["tools", "peers", "breaking-base"];

/** Flags of all commands, and of scripts: their variables are known, whichever command runs. */
export const allFlags: readonly string[] = [
  ...new Set(Object.values(settingsByCommand).flatMap((settings) => Object.keys(settings))),
  ...scriptSettings,
];
