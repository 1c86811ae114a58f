/** Calls `action` after all sockets that had something to read were read. */
export function atTurnEnd(action: () => void): void {
  setImmediate(action);
}

/** Longest time that a timer of Node takes, in ms; it takes a longer one as 1 ms. */
const longestMs = 2 ** 31 - 1;

/**
 * Calls `action` after a time in ms, or after 24 days if it is longer: `action` looks at the clock. The result
 * cancels.
 */
export function afterMs(ms: number, action: () => void): () => void {
  const timer = setTimeout(action, Math.min(ms, longestMs));
  return () => clearTimeout(timer);
}
