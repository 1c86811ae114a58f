import { destination, type Logger, pino } from "pino";
import { logLine } from "./log-line.ts";

/** Least severe entries that are logged. */
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

/** How entries look: JSON lines for collectors, or text for people; `auto` is text on a terminal. */
export type LogFormat = "auto" | "text" | "json";

/** Where entries go. */
export interface LogStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Keys whose values never reach a log: at the top of an entry, and one and two levels down. */
const secretKeys = [
  "authorization",
  "Authorization",
  "cookie",
  "password",
  "token",
  "apiKey",
  "secret",
];

/**
 * Makes a log.
 *
 * @param stream - stderr without it
 */
export function createLogger(level: LogLevel, format: LogFormat, stream?: LogStream): Logger {
  const target = stream ?? process.stderr;
  const asText = format === "text" || (format === "auto" && target.isTTY === true);
  const color = target.isTTY === true && !process.env.NO_COLOR;
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
  };
  if (asText) {
    return pino(options, { write: (json: string) => void target.write(logLine(json, color)) });
  }
  return stream === undefined
    ? pino(options, destination({ dest: 2, sync: true }))
    : pino(options, { write: (json: string) => void stream.write(json) });
}
