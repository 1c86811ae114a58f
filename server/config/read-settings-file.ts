import { parse as parseYaml } from "yaml";
import { messageOf } from "../errors/from-unknown.ts";
import { nearestName } from "./nearest-name.ts";
import { parseValue } from "./parse-value.ts";
import type { Problems } from "./problems.ts";
import type { Settings, SettingValue } from "./setting.ts";

/** Key that a file may not have: it names the file. */
const fileFlag = "config";

/**
 * Reads a settings file: YAML, and so also JSON; the keys are the flags' names.
 *
 * @param foreign - flags of other commands, whose keys are let pass
 */
export function readSettingsFile(
  declared: Settings,
  path: string,
  readFile: (path: string) => string,
  foreign: Iterable<string>,
  problems: Problems,
): ReadonlyMap<string, SettingValue> {
  const given = new Map<string, SettingValue>();
  let content: unknown;
  try {
    content = parseYaml(readFile(path), { logLevel: "error" }) ?? {};
  } catch (error) {
    problems.push(`settings file ${path}: ${messageOf(error)}`);
    return given;
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    problems.push(`settings file ${path}: expected a mapping of settings to values`);
    return given;
  }
  const others = new Set(foreign);
  const known = Object.keys(declared).filter((flag) => flag !== fileFlag);
  for (const [key, value] of Object.entries(content)) {
    const where = `key ${key} of ${path}`;
    const setting = known.includes(key) ? declared[key] : undefined;
    if (!setting) {
      if (!others.has(key) || key === fileFlag)
        problems.unknown(where, nearestName(key, known), "");
    } else if (setting.kind === "list" && isTexts(value)) {
      given.set(key, value);
    } else if (isPlain(value)) {
      const parsed = parseValue(setting, String(value));
      if ("value" in parsed) given.set(key, parsed.value);
      else problems.impossible(where, setting, String(value), parsed.expected);
    } else {
      const expected = setting.kind === "list" ? "a list of texts" : "a plain value";
      problems.impossible(where, setting, JSON.stringify(value), expected);
    }
  }
  return given;
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((part) => typeof part === "string");
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
