import type { Settings } from "./setting.ts";

/** Settings of `tensorwire keys`. */
export const keysSettings = {
  name: {
    kind: "text",
    group: "Key",
    placeholder: "NAME",
    help: "Who the key is for; stands in the audit log. Several keys may have one name",
  },
  permissions: {
    kind: "list",
    group: "Key",
    placeholder: "PERMISSION",
    help: "What the key allows: infer, read, control",
  },
  models: {
    kind: "list",
    group: "Key",
    placeholder: "PATTERN",
    help: "Models that it allows that for, such as iris*; all without it",
  },
  json: {
    kind: "boolean",
    group: "Output",
    default: false,
    help: "Print key and entry as JSON on stdout",
  },
} as const satisfies Settings;
