import { constants } from "node:os";
import type { Lifecycle } from "./lifecycle.ts";

/** What is needed of Node's `process`. */
export interface ProcessEvents {
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

const signals = ["SIGTERM", "SIGINT"] as const;
const fatalEvents = ["uncaughtException", "unhandledRejection"] as const;

/** Hands a process's signals and unhandled errors to a lifecycle; the result undoes it. */
export function connectProcess(lifecycle: Lifecycle, events: ProcessEvents): () => void {
  const listeners = new Map<string, (value: unknown) => void>();
  for (const signal of signals) {
    listeners.set(signal, () => lifecycle.onSignal(signal, 128 + constants.signals[signal]));
  }
  for (const event of fatalEvents) listeners.set(event, (error) => lifecycle.onFatal(error));
  for (const [event, listener] of listeners) events.on(event, listener);
  return () => {
    for (const [event, listener] of listeners) events.off(event, listener);
  };
}
