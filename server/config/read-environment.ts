import { environmentName, environmentPrefix } from "./environment-name.ts";
import { nearestName } from "./nearest-name.ts";
import { parseValue } from "./parse-value.ts";
import type { Problems } from "./problems.ts";
import { isServiceLink } from "./service-link.ts";
import type { Settings, SettingValue } from "./setting.ts";

/**
 * Reads the settings among the environment variables. An empty variable counts as not set, as in a
 * manifest that leaves it blank.
 *
 * @param foreign - flags of other commands, whose variables are let pass
 */
export function readEnvironment(
  declared: Settings,
  env: Readonly<Record<string, string | undefined>>,
  foreign: Iterable<string>,
  problems: Problems,
): ReadonlyMap<string, SettingValue> {
  const byVariable = new Map(Object.keys(declared).map((flag) => [environmentName(flag), flag]));
  const others = new Set([...foreign].map(environmentName));
  const given = new Map<string, SettingValue>();
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(environmentPrefix) || !text || isServiceLink(variable, text)) continue;
    const where = `variable ${variable}`;
    const flag = byVariable.get(variable);
    if (flag === undefined) {
      if (!others.has(variable))
        problems.unknown(where, nearestName(variable, byVariable.keys()), "");
      continue;
    }
    const setting = declared[flag]!;
    const parsed = parseValue(setting, text);
    if ("value" in parsed) given.set(flag, parsed.value);
    else problems.impossible(where, setting, text, parsed.expected);
  }
  return given;
}
