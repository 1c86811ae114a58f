import type { Setting } from "./setting.ts";

/** Word for a setting's value in help and reference. */
export function placeholderOf(setting: Setting): string {
  if (setting.placeholder !== undefined) return setting.placeholder;
  switch (setting.kind) {
    case "choice":
      return setting.choices.join("|");
    case "integer":
      return "NUMBER";
    case "duration":
      return "TIME";
    case "bytes":
      return "SIZE";
    case "path":
      return "PATH";
    case "list":
      return "A,B";
    case "text":
      return "TEXT";
    case "boolean":
      return "true|false";
  }
}
