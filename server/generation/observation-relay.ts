import type { GenerationClock } from "./generation-loop.ts";
import type { GenerationObservation, ObserveGeneration } from "./generation-observation.ts";

/** Passes observations on, several put together. */
export interface ObservationRelay {
  readonly observe: ObserveGeneration;
  /** Passes on what there is. */
  flush(): void;
}

/** Time between two observations that are passed on, in ms. */
const relayMs = 50;

/**
 * Makes a relay for observations that cross between threads: there is one for each step of a model, and
 * whoever counts them needs no more than some in a second.
 *
 * @param pass - takes what happened since it was last called
 */
export function createObservationRelay(
  after: GenerationClock["after"],
  pass: ObserveGeneration,
): ObservationRelay {
  let gathered: GenerationObservation | undefined;
  const flush = (): void => {
    if (!gathered) return;
    const observation = gathered;
    gathered = undefined;
    pass(observation);
  };
  return {
    observe(observation) {
      if (gathered) gathered = joined(gathered, observation);
      else {
        gathered = observation;
        after(relayMs, flush);
      }
    },
    flush,
  };
}

/** Two observations as one: how things stand is what the later one says. */
function joined(a: GenerationObservation, b: GenerationObservation): GenerationObservation {
  return {
    running: b.running,
    waiting: b.waiting,
    slots: b.slots,
    maxWaiting: b.maxWaiting,
    cacheUsage: b.cacheUsage,
    promptTokens: a.promptTokens + b.promptTokens,
    generatedTokens: a.generatedTokens + b.generatedTokens,
    timesToFirstToken: [...a.timesToFirstToken, ...b.timesToFirstToken],
    interTokenLatencies: [...a.interTokenLatencies, ...b.interTokenLatencies],
    ended: [...a.ended, ...b.ended],
  };
}
