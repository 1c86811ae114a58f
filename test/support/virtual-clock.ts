/** A clock that moves when a test says so. */
export interface VirtualClock {
  readonly now: () => number;
  readonly after: (ms: number, action: () => void) => () => void;
  /** Moves on, and does what falls due on the way. */
  advance(ms: number): void;
  /** Times at which something is due, in ms from now. */
  readonly due: () => readonly number[];
}

/** Makes one that stands at 0. */
export function virtualClock(): VirtualClock {
  let time = 0;
  const timers = new Set<{ readonly at: number; readonly action: () => void }>();
  return {
    now: () => time,
    after(ms, action) {
      const timer = { at: time + ms, action };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const end = time + ms;
      for (;;) {
        const next = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (!next) break;
        timers.delete(next);
        time = next.at;
        next.action();
      }
      time = end;
    },
    due: () => [...timers].map(({ at }) => at - time).sort((a, b) => a - b),
  };
}
