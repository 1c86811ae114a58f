import { constants } from "node:os";
import type { Lifecycle } from "./lifecycle.ts";

/** What is needed of Node's `process`. */
export interface ProcessEvents {
  on(event: string, listener: (value: unknown) => void): unknown;
  off(event: string, listener: (value: unknown) => void): unknown;
}

const signals = ["SIGTERM", "SIGINT"] as const;
const fatalEvents = ["uncaughtException", "unhandledRejection"] as const;
/**
 * Within this time a signal that comes again is the same one, in ms: the terminal sends Ctrl-C to every
 * program in front, and npm hands on to its child what it gets itself.
 */
const sameSignalMs = 500;

/**
 * Hands a process's signals and unhandled errors to a lifecycle; the result undoes it.
 *
 * @param now - monotonic clock in ms
 */
export function connectProcess(
  lifecycle: Lifecycle,
  events: ProcessEvents,
  now: () => number,
): () => void {
  const listeners = new Map<string, (value: unknown) => void>();
  for (const signal of signals) {
    let last = Number.NEGATIVE_INFINITY;
    listeners.set(signal, () => {
      const time = now();
      if (time - last >= sameSignalMs) lifecycle.onSignal(signal, 128 + constants.signals[signal]);
      last = time;
    });
  }
  for (const event of fatalEvents) listeners.set(event, (error) => lifecycle.onFatal(error));
  for (const [event, listener] of listeners) events.on(event, listener);
  return () => {
    for (const [event, listener] of listeners) events.off(event, listener);
  };
}
