/** What of a call is traced. */
export type TraceLevel = "OFF" | "TIMESTAMPS";

/** Which calls are traced, and where to: Triton's trace settings. */
export interface TraceSettings {
  /** Name of the file in the folder for traces; empty for none. */
  readonly file: string;
  readonly level: TraceLevel;
  /** One of so many calls is traced; from 1. */
  readonly rate: number;
  /** Calls that are still to be traced; -1 for no end. */
  readonly count: number;
  /** Traces in one file, which has a number at its end; 0 for one file without a number. */
  readonly logFrequency: number;
}

/** Settings to change; `null` clears one, so that it follows those of the server again, or those at start. */
export type TraceChanges = { readonly [K in keyof TraceSettings]?: TraceSettings[K] | null };

/** Settings that somebody has set, of the server or of a model. */
export type TraceOverrides = Partial<TraceSettings>;

/** What holds until somebody sets something: as in Triton. */
export const traceSettingsAtStart: TraceSettings = {
  file: "",
  level: "OFF",
  rate: 1000,
  count: -1,
  logFrequency: 0,
};

/** Overrides after changes; those that are cleared are gone. */
export function changeOverrides(before: TraceOverrides, changes: TraceChanges): TraceOverrides {
  const entries = Object.entries({ ...before, ...changes });
  return Object.fromEntries(entries.filter(([, value]) => value !== null && value !== undefined));
}

/** Whether calls are traced by settings. */
export function isTracing({ file, level, count }: TraceSettings): boolean {
  return level !== "OFF" && file !== "" && count !== 0;
}
