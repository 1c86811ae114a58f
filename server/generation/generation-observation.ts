/** Why a generation ended. */
export type FinishReason = "stop" | "length" | "cancelled";

/** How a generation ended, for counts: a reason to finish, or an error. */
export type EndReason = FinishReason | "error";

/** End of one generation. */
export interface ObservedEnd {
  readonly reason: EndReason;
  /** From submission to end. */
  readonly seconds: number;
}

/**
 * What happened since the last observation, and how things stand. Plain numbers, so that it can cross
 * between threads as a message; there is one for each step, and one for each change between steps.
 */
export interface GenerationObservation {
  /** Generations that have a slot. */
  readonly running: number;
  readonly waiting: number;
  /** Generations that may run at once, and that may wait. */
  readonly slots: number;
  readonly maxWaiting: number;
  /** Filled share of the cache, 0 to 1. */
  readonly cacheUsage: number;
  /** Tokens of prompts that were computed. */
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** From submission to first token, of each generation that had its first, in seconds. */
  readonly timesToFirstToken: readonly number[];
  /** Between two tokens of a generation, in seconds. */
  readonly interTokenLatencies: readonly number[];
  readonly ended: readonly ObservedEnd[];
}

/** Takes observations; called by the loop, so it must be quick and not throw. */
export type ObserveGeneration = (observation: GenerationObservation) => void;
