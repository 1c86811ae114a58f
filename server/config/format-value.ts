import type { Setting, SettingValue } from "./setting.ts";

const durationUnits = [
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
] as const;
const byteUnits = [
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
] as const;

/**
 * Writes a value as a flag takes it, in the largest unit that loses nothing. Empty for no value; `***`
 * for a secret.
 */
export function formatValue(setting: Setting, value: SettingValue): string {
  if (value === undefined) return "";
  if (setting.secret) return "***";
  switch (setting.kind) {
    case "text":
    case "path":
    case "choice":
    case "integer":
    case "boolean":
      return String(value);
    case "duration":
      return inUnits(Number(value), durationUnits, "ms");
    case "bytes":
      return inUnits(Number(value), byteUnits, "");
    case "list":
      return (value as readonly string[]).join(",");
  }
}

function inUnits(
  value: number,
  units: readonly (readonly [string, number])[],
  smallest: string,
): string {
  const fits = units.find(([, size]) => value !== 0 && value % size === 0);
  return fits ? `${value / fits[1]}${fits[0]}` : `${value}${smallest}`;
}
