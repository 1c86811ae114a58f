import { destination, type Logger, pino } from "pino";
import type { Log } from "./log.ts";
import { logLine } from "./log-line.ts";
import { type LogFormat, type LogLevel, type LogSettings, logSettingsOf } from "./log-settings.ts";

/** Where entries go. */
export interface LogStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** A log whose settings may change while it runs. */
export interface SettableLog extends Log {
  readonly settings: LogSettings;
  /** Why the program ends; logged whatever the settings are. */
  fatal(fields: object, message: string): void;
  /** Changes settings, of the log and of all its children. */
  change(changes: Partial<LogSettings>): void;
  /**
   * The same log, from which no call takes what the program was started to log: for the audit of calls,
   * those that change the settings among them.
   */
  asStarted(): Log;
  /** The same log, with fields in each entry. */
  child(fields: object): SettableLog;
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
export function createLogger(level: LogLevel, format: LogFormat, stream?: LogStream): SettableLog {
  const target = stream ?? process.stderr;
  const startsAsText = format === "text" || (format === "auto" && target.isTTY === true);
  const color = target.isTTY === true && !process.env.NO_COLOR;
  const atStart = logSettingsOf(level);
  const state: LogState = { atStart, settings: atStart };
  // Lines for collectors are written before the call returns: the last ones of a process are not lost.
  const json = stream ?? destination({ dest: 2, sync: true });
  const write = (entry: string): void => {
    const { style } = state.settings;
    if (style === "json" || (style === "default" && !startsAsText)) json.write(entry);
    else target.write(logLine(entry, color, style === "ISO8601" ? "whole" : "short"));
  };
  const logger = pino(
    {
      // What is left out is left out before: each level has a switch of its own.
      level: "trace",
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label: string) => ({ level: label }) },
      redact: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
    },
    { write },
  );
  return new SwitchedLog(logger, state);
}

/** What a log and its children share. */
interface LogState {
  readonly atStart: LogSettings;
  settings: LogSettings;
}

class SwitchedLog implements SettableLog {
  readonly #logger: Logger;
  readonly #state: LogState;

  constructor(logger: Logger, state: LogState) {
    this.#logger = logger;
    this.#state = state;
  }

  get settings(): LogSettings {
    return this.#state.settings;
  }

  change(changes: Partial<LogSettings>): void {
    this.#state.settings = { ...this.#state.settings, ...changes };
  }

  asStarted(): Log {
    const { atStart } = this.#state;
    return new SwitchedLog(this.#logger, { atStart, settings: atStart });
  }

  child(fields: object): SettableLog {
    return new SwitchedLog(this.#logger.child(fields), this.#state);
  }

  debug(fields: object, message: string): void {
    if (this.#state.settings.verboseLevel > 0) this.#logger.debug(fields, message);
  }

  info(fields: object, message: string): void {
    if (this.#state.settings.info) this.#logger.info(fields, message);
  }

  warn(fields: object, message: string): void {
    if (this.#state.settings.warning) this.#logger.warn(fields, message);
  }

  error(fields: object, message: string): void {
    if (this.#state.settings.error) this.#logger.error(fields, message);
  }

  fatal(fields: object, message: string): void {
    this.#logger.fatal(fields, message);
  }
}
