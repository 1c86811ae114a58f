import type { Interceptor } from "@connectrpc/connect";
import { serverDraining } from "../errors/server-errors.ts";

/**
 * Ends the streams of callers when the server stops: a stream that waits for its next request would
 * hold up the drain for as long as its caller likes. The request that is being answered still is; the
 * next one is refused with `SERVER_DRAINING`.
 *
 * @param draining - aborts when the drain begins
 */
export function createDrainInterceptor(draining: AbortSignal): Interceptor {
  return (next) => (request) => {
    const takesStream =
      request.method.methodKind === "bidi_streaming" ||
      request.method.methodKind === "client_streaming";
    if (!request.stream || !takesStream) return next(request);
    return next({ ...request, message: untilDraining(request.message, draining) });
  };
}

async function* untilDraining<T>(
  messages: AsyncIterable<T>,
  draining: AbortSignal,
): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let refuse = (): void => {};
  const onDraining = (): void => refuse();
  draining.addEventListener("abort", onDraining, { once: true });
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        refuse = () => reject(serverDraining());
        if (draining.aborted) refuse();
        else iterator.next().then(resolve, reject);
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    draining.removeEventListener("abort", onDraining);
    // Not awaited: it may wait for a message that never comes.
    iterator.return?.().catch(() => {});
  }
}
