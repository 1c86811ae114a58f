import { styleText } from "node:util";

const colors = { debug: "gray", info: "blue", warn: "yellow", error: "red", fatal: "red" } as const;

/**
 * Turns a JSON entry into a line for people: time, level, message, and the fields as key=value.
 *
 * @param clock - `short` is the time of day alone, UTC; `whole` all of ISO 8601
 */
export function logLine(json: string, color: boolean, clock: "short" | "whole" = "short"): string {
  const { time, level, msg, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const shownTime = clock === "whole" ? String(time) : String(time).slice(11, 19);
  const name = String(level);
  const label = name.toUpperCase().padEnd(5);
  const shown = color
    ? styleText(colors[name as keyof typeof colors] ?? "white", label, { validateStream: false })
    : label;
  const rest = Object.entries(fields).map(
    ([key, value]) => ` ${key}=${typeof value === "string" ? text(value) : JSON.stringify(value)}`,
  );
  const error = err as { message?: string; stack?: string } | undefined;
  const trace = error
    ? `\n      ${(error.stack ?? error.message ?? "").replaceAll("\n", "\n      ")}`
    : "";
  return `${shownTime} ${shown} ${msg}${rest.join("")}${trace}\n`;
}

/** A value with blanks or control characters goes in quotes, so that an entry stays one line. */
function text(value: string): string {
  return /[\s"\p{Cc}]/u.test(value) ? JSON.stringify(value) : value;
}
