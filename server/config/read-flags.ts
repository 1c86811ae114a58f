import { parseArgs } from "node:util";
import { nearestName } from "./nearest-name.ts";
import { parseValue } from "./parse-value.ts";
import type { Problems } from "./problems.ts";
import type { Setting, Settings, SettingValue } from "./setting.ts";

/** What the arguments of a command say. */
export interface FlagValues {
  readonly given: ReadonlyMap<string, SettingValue>;
  /** Arguments that are no flags, and all behind `--`. */
  readonly positionals: readonly string[];
}

/** A flag as it may be written, and what it stands for. */
interface FlagName {
  readonly flag: string;
  readonly setting: Setting;
  /** True for `--no-x` and its other names. */
  readonly negative: boolean;
}

/** Reads the flags of a command. A list's flag may be given again; of any other the last one counts. */
export function readFlags(
  declared: Settings,
  argv: readonly string[],
  problems: Problems,
): FlagValues {
  const names = flagNames(declared);
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: Object.fromEntries([...names].map(([name, of]) => [name, { type: optionType(of) }])),
  });
  const given = new Map<string, SettingValue>();
  const positionals: string[] = [];
  const refused = new Set<number>();
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      positionals.push(token.value);
      continue;
    }
    if (!token.rawName.startsWith("--")) {
      // `-abc` comes as three tokens of one argument.
      if (!refused.has(token.index))
        problems.push(`unknown flag ${argv[token.index]}; flags begin with two dashes`);
      refused.add(token.index);
      continue;
    }
    const where = `flag ${token.rawName}`;
    const name = names.get(token.name);
    if (!name) {
      problems.unknown(where, nearestName(token.name, visible(names)), "--");
    } else if (name.negative) {
      if (token.inlineValue) problems.push(`${where} takes no value`);
      else given.set(name.flag, false);
    } else if (name.setting.kind === "boolean" && token.value === undefined) {
      given.set(name.flag, true);
    } else if (
      token.value === undefined ||
      (!token.inlineValue && names.has(token.value.slice(2)) && token.value.startsWith("--"))
    ) {
      problems.push(`${where} needs a value`);
    } else {
      const parsed = parseValue(name.setting, token.value);
      if (!("value" in parsed)) {
        problems.impossible(where, name.setting, token.value, parsed.expected);
        continue;
      }
      const before = given.get(name.flag);
      const both = Array.isArray(before) && Array.isArray(parsed.value);
      given.set(name.flag, both ? [...before, ...(parsed.value as string[])] : parsed.value);
    }
  }
  return { given, positionals };
}

function flagNames(declared: Settings): Map<string, FlagName> {
  const names = new Map<string, FlagName>();
  for (const [flag, setting] of Object.entries(declared)) {
    for (const name of [flag, ...(setting.aliases ?? [])])
      names.set(name, { flag, setting, negative: false });
    if (setting.kind !== "boolean") continue;
    for (const name of [`no-${flag}`, ...(setting.opposites ?? [])])
      names.set(name, { flag, setting, negative: true });
  }
  return names;
}

function optionType({ setting }: FlagName): "boolean" | "string" {
  return setting.kind === "boolean" ? "boolean" : "string";
}

/** Names to suggest: `--no-x` only where that is what one would write. */
function* visible(names: ReadonlyMap<string, FlagName>): Iterable<string> {
  for (const [name, { negative, setting }] of names) {
    const switchedOn = setting.kind === "boolean" && setting.default;
    if (negative || !switchedOn) yield name;
  }
}
