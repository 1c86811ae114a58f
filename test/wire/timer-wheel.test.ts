import test from "ava";
import fc from "fast-check";
import { TimerWheel, type WheelClock, WheelTimer } from "../../server/wire/timer-wheel.ts";

/** Time that passes when a test says so. */
class VirtualClock implements WheelClock {
  time = 0;
  readonly #actions = new Set<{ readonly at: number; readonly action: () => void }>();

  /** Timers that would keep something waiting. */
  get pending(): number {
    return this.#actions.size;
  }

  now(): number {
    return this.time;
  }

  after(ms: number, action: () => void): () => void {
    const entry = { at: this.time + ms, action };
    this.#actions.add(entry);
    return () => this.#actions.delete(entry);
  }

  /** Lets time pass, in the order of what is due. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const next = [...this.#actions].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#actions.delete(next);
      this.time = Math.max(this.time, next.at);
      next.action();
    }
    this.time = end;
  }

  /** The event loop stood still: what was due comes at once, late. */
  freeze(ms: number): void {
    this.time += ms;
    const due = [...this.#actions].filter(({ at }) => at <= this.time);
    for (const entry of due) {
      this.#actions.delete(entry);
      entry.action();
    }
  }
}

class Note extends WheelTimer {
  firedAt: number | undefined;
  due = 0;
  readonly #onFire: () => void;

  constructor(onFire: () => void) {
    super();
    this.#onFire = onFire;
  }

  override fire(): void {
    this.#onFire();
  }
}

const tickMs = 4;

function start(slots = 8) {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(tickMs, slots, clock);
  const notes: Note[] = [];
  const note = (): Note => {
    const made: Note = new Note(() => {
      made.firedAt = clock.time;
    });
    notes.push(made);
    return made;
  };
  return { clock, wheel, note };
}

test("a timer fires at its time or up to a tick and the wait for it later, never earlier", (t) => {
  for (const ms of [0, 1, 3, 4, 5, 31, 32, 33, 100, 1000]) {
    const { clock, wheel, note } = start();
    clock.pass(2.5);
    const timer = note();
    wheel.arm(timer, ms);
    t.is(wheel.armed, 1);
    clock.pass(ms - 0.001);
    t.is(timer.firedAt, undefined, `${ms} ms`);
    clock.pass(2 * tickMs + 0.001);
    t.true(timer.firedAt! >= 2.5 + ms && timer.firedAt! <= 2.5 + ms + 2 * tickMs, `${ms} ms`);
    t.is(wheel.armed, 0);
    t.is(timer.dueTick, -1);
  }
});

test("a timer that was disarmed does not fire, and nothing runs when nothing is armed", (t) => {
  const { clock, wheel, note } = start();
  const timer = note();
  wheel.arm(timer, 10);
  wheel.disarm(timer);
  wheel.disarm(timer);
  t.is(wheel.armed, 0);
  clock.pass(1000);
  t.is(timer.firedAt, undefined);
  t.is(clock.pending, 0);
});

test("a timer that is armed again forgets its first time", (t) => {
  const { clock, wheel, note } = start();
  const timer = note();
  wheel.arm(timer, 10);
  wheel.arm(timer, 100);
  t.is(wheel.armed, 1);
  clock.pass(99);
  t.is(timer.firedAt, undefined);
  clock.pass(10);
  t.true(timer.firedAt! >= 100);
});

test("one that fires may disarm, and arm anew, those that are due with it", (t) => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(tickMs, 8, clock);
  const fired: string[] = [];
  const last = new Note(() => fired.push(`last at ${clock.time}`));
  const never = new Note(() => fired.push("never"));
  const again: Note = new Note(() => {
    fired.push(`again at ${clock.time}`);
    if (clock.time < 20) wheel.arm(again, 0);
  });
  const first = new Note(() => {
    fired.push("first");
    wheel.disarm(never);
    // The one behind it in the same slot goes to another slot.
    wheel.arm(last, 9);
  });
  for (const timer of [first, last, never, again]) wheel.arm(timer, 10);
  clock.pass(1000);
  t.is(fired[0], "first");
  t.false(fired.includes("never"));
  t.is(fired.filter((each) => each.startsWith("last")).length, 1);
  t.deepEqual(
    fired.filter((each) => each.startsWith("again")),
    ["again at 12", "again at 16", "again at 20"],
  );
  t.is(wheel.armed, 0);
});

test("after a pause of many revolutions all that was due fires once", (t) => {
  const { clock, wheel, note } = start();
  const timers = Array.from({ length: 50 }, note);
  for (const [index, timer] of timers.entries()) wheel.arm(timer, index * 7);
  const later = note();
  wheel.arm(later, 100_000);
  clock.freeze(10_000);
  t.true(timers.every(({ firedAt }) => firedAt === 10_000));
  t.is(later.firedAt, undefined);
  t.is(wheel.armed, 1);
});

const deed = fc.oneof(
  fc.record({
    kind: fc.constant("arm" as const),
    which: fc.nat({ max: 20 }),
    ms: fc.integer({ min: 0, max: 200 }),
  }),
  fc.record({ kind: fc.constant("disarm" as const), which: fc.nat({ max: 20 }) }),
  fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 60 }) }),
  fc.record({ kind: fc.constant("freeze" as const), ms: fc.integer({ min: 0, max: 100 }) }),
);

test("against a list of times: none is lost, none fires early or twice", (t) => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 200 }), (deeds) => {
      const clock = new VirtualClock();
      const wheel = new TimerWheel(tickMs, 8, clock);
      const due = new Map<Note, number>();
      const timers = Array.from({ length: 21 }, () => {
        const timer: Note = new Note(() => {
          const at = due.get(timer);
          if (at === undefined) throw new Error("fired without being armed");
          if (clock.time < at) throw new Error(`fired at ${clock.time}, due at ${at}`);
          due.delete(timer);
        });
        return timer;
      });
      for (const each of deeds) {
        if (each.kind === "arm") {
          due.set(timers[each.which]!, clock.time + each.ms);
          wheel.arm(timers[each.which]!, each.ms);
        } else if (each.kind === "disarm") {
          due.delete(timers[each.which]!);
          wheel.disarm(timers[each.which]!);
        } else if (each.kind === "pass") clock.pass(each.ms);
        else clock.freeze(each.ms);
        t.is(wheel.armed, due.size);
        for (const at of due.values()) {
          if (clock.time > at + 2 * tickMs + (each.kind === "freeze" ? each.ms : 0)) {
            throw new Error(`due at ${at}, not fired at ${clock.time}`);
          }
        }
      }
      clock.pass(1000);
      t.is(due.size, 0);
      t.is(wheel.armed, 0);
      t.is(clock.pending, 0);
    }),
    { numRuns: 300 },
  );
});
