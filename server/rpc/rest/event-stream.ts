import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

const encoder = new TextEncoder();

/**
 * An event in the form of server-sent events.
 *
 * @param data - one line, as JSON.stringify writes it
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export function eventBytes(data: string): Uint8Array {
  return encoder.encode(`data: ${data}\n\n`);
}

/** A response of server-sent events. Proxies are asked not to hold them back. */
export function eventStreamResponse(events: AsyncIterable<Uint8Array>): UniversalServerResponse {
  const header = new Headers({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  });
  return { status: 200, header, body: events };
}

/**
 * The items of an iteration whose first one is known: an error before it can still be answered with a
 * status of its own. Whoever leaves ends the iteration.
 *
 * @throws what the first step of the iteration throws
 */
export async function afterFirst<T>(items: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = items[Symbol.asyncIterator]();
  let first: IteratorResult<T> | undefined = await iterator.next();
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const known = first;
        first = undefined;
        return known ?? iterator.next();
      },
      async return() {
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
}
