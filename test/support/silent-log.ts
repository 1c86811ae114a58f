import { logSettingsOf } from "../../server/observability/log-settings.ts";
import type { SettableLog } from "../../server/observability/logger.ts";

/** A log that keeps what it is told, for tests that look. */
export interface RecordingLog extends SettableLog {
  readonly entries: { level: string; fields: object; message: string }[];
}

/** Makes a log that prints nothing. */
export function recordingLog(): RecordingLog {
  const entries: RecordingLog["entries"] = [];
  const at = (level: string) => (fields: object, message: string) => {
    entries.push({ level, fields, message });
  };
  const log: RecordingLog = {
    entries,
    // All is kept, whatever the settings are.
    settings: logSettingsOf("trace"),
    change() {},
    asStarted: () => log,
    child: () => log,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
  };
  return log;
}
