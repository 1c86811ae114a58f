import { Code, ConnectError } from "@connectrpc/connect";
import { callAborted } from "../errors/model-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";

/** The error for a call whose signal aborted: by its deadline, or by the caller. */
export function abortedCall(signal: AbortSignal): TensorwireError {
  const { reason } = signal;
  const deadline = reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
  return callAborted(deadline ? "deadline" : "cancelled", "before the answer");
}

/**
 * Waits for work, but not longer than until the signal aborts: a service that does not look at its
 * signal must not keep a caller past the deadline. One that does gets a turn to say more about it.
 *
 * @throws TensorwireError `DEADLINE_EXCEEDED` or `CALL_CANCELLED`
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => void setImmediate(() => reject(abortedCall(signal)));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener("abort", onAbort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      },
    );
  });
}

/** {@link untilAborted} for each message of a stream. The stream is told when its reader leaves. */
export async function* messagesUntilAborted<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let fail = (_error: TensorwireError): void => {};
  const onAbort = (): void => void setImmediate(() => fail(abortedCall(signal)));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
        fail = reject;
        if (signal.aborted) onAbort();
        iterator.next().then(resolve, reject);
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    // Not awaited: a stream that hangs in its last step would hang this one.
    iterator.return?.().catch(() => {});
  }
}
