/** Calls `action` after all sockets that had something to read were read. */
export function atTurnEnd(action: () => void): void {
  setImmediate(action);
}

/** Calls `action` after a time in ms; the result cancels. */
export function afterMs(ms: number, action: () => void): () => void {
  const timer = setTimeout(action, ms);
  return () => clearTimeout(timer);
}
