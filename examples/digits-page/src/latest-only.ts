/** Runs a job for the newest of the things that come in, one at a time. */
export interface LatestOnly<T> {
  /** Runs the job for `item` now, or when the running one ends, unless a newer item comes. */
  push(item: T): void;
  /** Forgets what waits, and tells the running job to stop. */
  drop(): void;
}

/** Makes a {@link LatestOnly} of a job; the job handles its own errors. */
export function latestOnly<T>(job: (item: T, signal: AbortSignal) => Promise<void>): LatestOnly<T> {
  let running: AbortController | undefined;
  let waiting: { readonly item: T } | undefined;

  async function run(item: T): Promise<void> {
    const controller = new AbortController();
    running = controller;
    await job(item, controller.signal);
    // A job that was dropped leaves the place to its successor.
    if (running !== controller) return;
    running = undefined;
    const next = waiting;
    waiting = undefined;
    if (next) void run(next.item);
  }

  return {
    push(item) {
      if (running) waiting = { item };
      else void run(item);
    },
    drop() {
      waiting = undefined;
      running?.abort();
      running = undefined;
    },
  };
}
