import type { Log } from "../../server/observability/log.ts";

/** A log that keeps what it is told, for tests that look. */
export interface RecordingLog extends Log {
  readonly entries: { level: string; fields: object; message: string }[];
}

/** Makes a log that prints nothing. */
export function recordingLog(): RecordingLog {
  const entries: RecordingLog["entries"] = [];
  const at = (level: string) => (fields: object, message: string) => {
    entries.push({ level, fields, message });
  };
  return {
    entries,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
  } as RecordingLog;
}
