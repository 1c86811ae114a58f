import type { Writable } from "node:stream";

/**
 * Resolves when a stream that is full takes bytes again, or is closed.
 *
 * @param timeoutMs - time after which `onTimeout` is called, once
 */
export function drained(stream: Writable, timeoutMs: number, onTimeout: () => void): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) {
      resolve();
      return;
    }
    const timer = setTimeout(onTimeout, timeoutMs);
    const done = (): void => {
      clearTimeout(timer);
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}
