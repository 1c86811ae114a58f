import type { Settings } from "../config/setting.ts";

/** Settings of the commands that call a server. */
export const clientSettings = {
  url: {
    kind: "text",
    group: "Server",
    default: "http://127.0.0.1:8080",
    help: "Server to call; unix:/path for a unix socket",
  },
  deadline: { kind: "duration", group: "Server", default: "30s", help: "Time for the call" },
  json: { kind: "boolean", group: "Output", default: false, help: "Print JSON" },
} as const satisfies Settings;
