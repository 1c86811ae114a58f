import { Writable } from "node:stream";
import { destination, type Logger, pino } from "pino";
import { logLine } from "./log-line.ts";

/** How entries look: JSON lines for collectors, or text for people. */
export type LogFormat = "auto" | "text" | "json";

/** Keys whose values never reach a log, at the top of an entry and one level down. */
const secretKeys = ["authorization", "cookie", "password", "token", "apiKey", "secret"];

/** Makes the program's log, which goes to stderr. */
export function createLogger(
  level: "trace" | "debug" | "info" | "warn" | "error",
  format: LogFormat,
): Logger {
  const text = format === "text" || (format === "auto" && process.stderr.isTTY);
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: secretKeys.flatMap((key) => [key, `*.${key}`]),
  };
  return text ? pino(options, textStream()) : pino(options, destination({ dest: 2, sync: true }));
}

function textStream(): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      process.stderr.write(
        logLine(chunk.toString(), process.stderr.isTTY && !process.env.NO_COLOR),
        done,
      );
    },
  });
}
