/** Least severe entries that are logged, as the program is started with them. */
export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

/** How entries look: JSON lines for collectors, or text for people; `auto` is text on a terminal. */
export type LogFormat = "auto" | "text" | "json";

/**
 * How entries look, as calls may set it: as the program was started with it (`default`), text with whole
 * times of ISO 8601, or one of the forms of {@link LogFormat}.
 */
export const logStyles = ["default", "ISO8601", "text", "json"] as const;
export type LogStyle = (typeof logStyles)[number];

/** What is logged, and how: Triton's log settings. */
export interface LogSettings {
  /** 0 for none of the verbose entries; above it those of level debug too. */
  readonly verboseLevel: number;
  readonly info: boolean;
  readonly warning: boolean;
  readonly error: boolean;
  readonly style: LogStyle;
}

/** The settings that a level at start stands for. */
export function logSettingsOf(level: LogLevel): LogSettings {
  const severity = levels.indexOf(level);
  return {
    verboseLevel: Math.max(0, levels.indexOf("info") - severity),
    info: severity <= levels.indexOf("info"),
    warning: severity <= levels.indexOf("warn"),
    error: true,
    style: "default",
  };
}

const levels: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error"];
