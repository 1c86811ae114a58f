/** Exit codes of the program. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  listen: 3,
  models: 4,
  drainTimeout: 5,
} as const;

/** An exit code of the program itself; a second signal ends it with 128 plus the signal's number. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What each exit code tells, for help and reference. */
export const exitCodeMeanings: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "done; of serve: a signal came and every call in flight was answered"],
  ["1", "the call failed; of serve: an error that nothing handled"],
  ["2", "an unknown command or setting, or an impossible value"],
  ["3", "the address cannot be listened on"],
  [
    "4",
    "the model repository cannot be read, or a model failed to load and --exit-on-error is set",
  ],
  ["5", "calls were still in flight when --drain-timeout passed"],
  ["130, 143", "a second SIGINT or SIGTERM came while calls were in flight"],
];
