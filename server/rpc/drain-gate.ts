import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { serverDraining } from "../errors/server-errors.ts";
import { pathOf } from "./connect-host.ts";
import { refusedRpc } from "./refused-rpc.ts";
import { errorResponse } from "./rest/rest-error.ts";

/** Counts calls in flight, and refuses new ones once it is closed. */
export interface DrainGate {
  wrap(handler: UniversalHandlerFn): UniversalHandlerFn;
  /** Counts a call that does not come through {@link wrap}; look at {@link closed} before. */
  enter(): void;
  /** A call that was entered has ended. */
  leave(): void;
  /** Calls that are in flight. */
  readonly inFlight: number;
  /** From now on calls are answered UNAVAILABLE; probes and metrics still are answered. */
  close(): void;
  /** Aborts when the gate closes. */
  readonly closed: AbortSignal;
  /** Resolves when no call is in flight. */
  idle(): Promise<void>;
}

/** Makes an open gate. */
export function createDrainGate(): DrainGate {
  const closing = new AbortController();
  let inFlight = 0;
  let onIdle: (() => void) | undefined;
  const leave = (): void => {
    inFlight--;
    if (inFlight === 0) onIdle?.();
  };
  return {
    wrap: (handler) => async (request) => {
      const path = pathOf(request.url);
      if (isProbe(path)) return handler(request);
      if (closing.signal.aborted) return refuse(request.header, path);
      inFlight++;
      let response: UniversalServerResponse;
      try {
        response = await handler(request);
      } catch (error) {
        leave();
        throw error;
      }
      if (!response.body) {
        leave();
        return response;
      }
      return { ...response, body: leaving(response.body, leave) };
    },
    enter() {
      inFlight++;
    },
    leave,
    get inFlight() {
      return inFlight;
    },
    close() {
      closing.abort();
    },
    closed: closing.signal,
    async idle() {
      if (inFlight > 0) await new Promise<void>((resolve) => (onIdle = resolve));
    },
  };
}

/** Passes a body on and leaves when it ends, fails, or is given up by its reader. */
function leaving(body: AsyncIterable<Uint8Array>, leave: () => void): AsyncIterable<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]();
  let left = false;
  const leaveOnce = (): void => {
    if (!left) leave();
    left = true;
  };
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        try {
          const next = await iterator.next();
          if (next.done) leaveOnce();
          return next;
        } catch (error) {
          leaveOnce();
          throw error;
        }
      },
      async return() {
        leaveOnce();
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    }),
  };
}

function isProbe(path: string): boolean {
  return (
    path.startsWith("/health/") ||
    path.startsWith("/v2/health/") ||
    path === "/metrics" ||
    path.startsWith("/grpc.health.v1.Health/")
  );
}

function refuse(header: Headers, path: string): UniversalServerResponse {
  const error = serverDraining();
  return (
    refusedRpc(header, error) ??
    errorResponse(error, path, path === "" ? undefined : { connection: "close" })
  );
}
