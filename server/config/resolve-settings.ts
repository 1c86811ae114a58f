import { defaultOf } from "./parse-value.ts";
import { Problems } from "./problems.ts";
import { readEnvironment } from "./read-environment.ts";
import { readFlags } from "./read-flags.ts";
import { readSettingsFile } from "./read-settings-file.ts";
import type { SettingSource, Settings, SettingValue, SettingValues } from "./setting.ts";

/** Where settings are looked for. */
export interface SettingInputs {
  /** Arguments behind the command's name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads the settings file; throws if it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Flags of other commands: their variables and file keys are let pass. */
  readonly foreign?: Iterable<string>;
}

/** Values, where each came from, and the arguments that are no flags. */
export interface ResolvedSettings<S extends Settings> {
  readonly values: SettingValues<S>;
  readonly sources: { readonly [K in keyof S]: SettingSource };
  readonly positionals: readonly string[];
}

/**
 * Settles every declared setting: a flag counts before a variable, a variable before the file that
 * `--config` names, and that before the default.
 *
 * @throws TensorwireError `SETTING_INVALID` that lists every unknown name and every impossible value
 */
export function resolveSettings<S extends Settings>(
  declared: S,
  inputs: SettingInputs,
): ResolvedSettings<S> {
  const problems = new Problems();
  const foreign = [...(inputs.foreign ?? [])];
  const flags = readFlags(declared, inputs.argv, problems);
  const variables = readEnvironment(declared, inputs.env, foreign, problems);
  const path = [flags.given.get("config"), variables.get("config")].find(isText);
  const file =
    path === undefined
      ? new Map<string, SettingValue>()
      : readSettingsFile(declared, path, inputs.readFile, foreign, problems);
  problems.throwIfAny();

  const ranked = [
    ["flag", flags.given],
    ["environment", variables],
    ["file", file],
  ] as const;
  const values: Record<string, SettingValue> = {};
  const sources: Record<string, SettingSource> = {};
  for (const [flag, setting] of Object.entries(declared)) {
    const winner = ranked.find(([, given]) => given.has(flag));
    values[flag] = winner ? winner[1].get(flag) : defaultOf(setting);
    sources[flag] = winner ? winner[0] : "default";
  }
  return {
    values: values as SettingValues<S>,
    sources: sources as ResolvedSettings<S>["sources"],
    positionals: flags.positionals,
  };
}

function isText(value: SettingValue): value is string {
  return typeof value === "string";
}
