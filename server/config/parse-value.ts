import type { Setting, SettingValue } from "./setting.ts";

/** A value, or what was expected in its place. */
export type Parsed = { readonly value: SettingValue } | { readonly expected: string };

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
/** Longest time that a timer of Node takes. */
const maxDurationMs = 2 ** 31 - 1;

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1000,
  kb: 1000,
  kib: 1024,
  m: 1e6,
  mb: 1e6,
  mib: 1024 ** 2,
  g: 1e9,
  gb: 1e9,
  gib: 1024 ** 3,
};

/** Reads the text of a flag, a variable, or a default. */
export function parseValue(setting: Setting, text: string): Parsed {
  switch (setting.kind) {
    case "text":
    case "path":
      return text === "" ? { expected: "a text that is not empty" } : { value: text };
    case "integer": {
      const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
      return value >= setting.min && value <= setting.max
        ? { value }
        : { expected: `a whole number from ${setting.min} to ${setting.max}` };
    }
    case "boolean":
      if (/^(true|1|yes|on)$/i.test(text)) return { value: true };
      if (/^(false|0|no|off)$/i.test(text)) return { value: false };
      return { expected: "true or false" };
    case "choice":
      return setting.choices.includes(text)
        ? { value: text }
        : { expected: `one of ${setting.choices.join(", ")}` };
    case "duration": {
      const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text === "0" ? "0ms" : text);
      const value = match ? Math.round(Number(match[1]) * durationUnits[match[2]!]!) : -1;
      return value >= 0 && value <= maxDurationMs
        ? { value }
        : { expected: "a time such as 500ms, 10s, 5m or 1h, at most 596h" };
    }
    case "bytes": {
      const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
      const unit = match && byteUnits[match[2]!.toLowerCase()];
      const value = match && unit ? Math.floor(Number(match[1]) * unit) : Number.NaN;
      if (value > 0 && Number.isSafeInteger(value)) return { value };
      const { zero } = setting;
      if (zero !== undefined && Number(match?.[1]) === 0 && value === 0) return { value };
      const expected = "a size above 0 such as 65536, 64KiB, 64MiB or 1GiB";
      return { expected: zero === undefined ? expected : `${expected}, or 0: ${zero}` };
    }
    case "list":
      if (setting.separator === "none") return { value: [text] };
      return {
        value: text
          .split(",")
          .map((part) => part.trim())
          .filter((part) => part !== ""),
      };
  }
}

/** Default of a setting. */
export function defaultOf(setting: Setting): SettingValue {
  switch (setting.kind) {
    case "list":
      return [];
    case "duration":
    case "bytes": {
      if (setting.default === undefined) return undefined;
      const parsed = parseValue(setting, setting.default);
      if (!("value" in parsed))
        throw new Error(`the default ${setting.default} is not ${parsed.expected}`);
      return parsed.value;
    }
    case "text":
    case "path":
    case "integer":
    case "boolean":
    case "choice":
      return setting.default;
  }
}

/** Default as help and reference write it; empty for none. */
export function defaultText(setting: Setting): string {
  return setting.kind === "list" || setting.default === undefined ? "" : String(setting.default);
}
