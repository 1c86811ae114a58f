import type { Setting, Settings } from "./setting.ts";

/** Settings by heading; headings and settings in the order in which they are declared. */
export function settingGroups(
  settings: Settings,
): ReadonlyMap<string, readonly [string, Setting][]> {
  return Map.groupBy(Object.entries(settings), ([, { group }]) => group);
}
