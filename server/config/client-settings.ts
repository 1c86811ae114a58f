import type { Settings } from "./setting.ts";

/** Settings of the commands that call a server. */
const connectionSettings = {
  url: {
    kind: "text",
    group: "Server",
    placeholder: "URL",
    default: "http://127.0.0.1:8080",
    help: "Address of the server; unix:/path for a unix socket",
  },
  "tls-ca": {
    kind: "path",
    group: "Server",
    placeholder: "FILE",
    help: "Authority in PEM that the server's certificate must come from, instead of the system's",
  },
  deadline: {
    kind: "duration",
    group: "Server",
    default: "10s",
    help: "Time for the call to be answered",
  },
} as const satisfies Settings;

const json = {
  kind: "boolean",
  group: "Output",
  default: false,
  help: "Print JSON for programs",
} as const;

/** Settings of `tensorwire infer`. */
export const inferSettings = {
  input: {
    kind: "list",
    separator: "none",
    group: "Call",
    placeholder: "NAME=VALUE",
    help: "Input tensor; VALUE is @file.json, @file.npy, numbers such as 1,2,3, or JSON such as [[1,2],[3,4]]. Give it again for each input",
  },
  output: {
    kind: "list",
    group: "Call",
    placeholder: "NAME",
    help: "Output to return; all without it",
  },
  "model-version": {
    kind: "text",
    group: "Call",
    placeholder: "VERSION",
    help: "Version to call; the newest without it",
  },
  classes: {
    kind: "integer",
    group: "Call",
    default: 0,
    min: 0,
    max: 1_000_000,
    help: "Return that many classes with the highest scores in place of the scores; 0 is off",
  },
  ...connectionSettings,
  json,
} as const satisfies Settings;

/** Settings of `tensorwire models`. */
export const modelsSettings = { ...connectionSettings, json } as const satisfies Settings;
