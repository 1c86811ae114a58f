import test from "ava";
import {
  createLifecycle,
  type Lifecycle,
  type LifecycleOptions,
} from "../../server/lifecycle/lifecycle.ts";

/** A clock whose time passes when a test says so. */
class VirtualClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly action: () => void }>();

  readonly after: LifecycleOptions["after"] = (ms, action) => {
    const timer = { at: this.#now + ms, action };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  get pending(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers]) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(timer);
      timer.action();
    }
  }
}

interface Scene {
  readonly clock: VirtualClock;
  readonly lifecycle: Lifecycle;
  readonly states: string[];
  readonly logged: string[];
}

function scene(options: Partial<LifecycleOptions> = {}): Scene {
  const clock = new VirtualClock();
  const states: string[] = [];
  const logged: string[] = [];
  const record =
    (level: string) =>
    (_fields: object, message: string): void => {
      logged.push(`${level}: ${message}`);
    };
  const lifecycle = createLifecycle({
    drainDelayMs: 0,
    drainTimeoutMs: 30_000,
    fatalDrainTimeoutMs: 5_000,
    onState: ({ kind }) => states.push(kind),
    after: clock.after,
    log: {
      debug: record("debug"),
      info: record("info"),
      warn: record("warn"),
      error: record("error"),
      fatal: record("fatal"),
    },
    ...options,
  });
  return { clock, lifecycle, states, logged };
}

test("a signal makes the program not ready, drains it and ends it with 0", async (t) => {
  const { lifecycle, states, clock } = scene();
  lifecycle.ready();
  lifecycle.onSignal("SIGTERM", 143);
  t.is(await lifecycle.stopped, 0);
  t.deepEqual(states, ["ready", "leaving", "draining", "stopped"]);
  t.is(clock.pending, 0);
});

test("drain steps run one after the other in their order", async (t) => {
  const { lifecycle } = scene();
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  lifecycle.onDrain({
    name: "first",
    async run() {
      order.push("first begins");
      await first.promise;
      order.push("first ends");
    },
  });
  lifecycle.onDrain({ name: "second", run: async () => void order.push("second") });
  lifecycle.onSignal("SIGTERM", 143);
  t.deepEqual(order, ["first begins"]);
  first.resolve();
  t.is(await lifecycle.stopped, 0);
  t.deepEqual(order, ["first begins", "first ends", "second"]);
});

test("within the drain delay the program is not ready and nothing is drained yet", async (t) => {
  const { lifecycle, clock, states } = scene({ drainDelayMs: 5_000 });
  let drained = 0;
  lifecycle.onDrain({ name: "step", run: async () => void drained++ });
  lifecycle.ready();
  lifecycle.onSignal("SIGTERM", 143);
  t.is(lifecycle.state.kind, "leaving");
  clock.pass(4_999);
  t.is(drained, 0);
  clock.pass(1);
  t.is(drained, 1);
  t.is(await lifecycle.stopped, 0);
  t.deepEqual(states, ["ready", "leaving", "draining", "stopped"]);
});

test("a drain that lasts longer than its timeout ends with 5 and names the step", async (t) => {
  const { lifecycle, clock, logged } = scene();
  const stuck = Promise.withResolvers<void>();
  let later = 0;
  lifecycle.onDrain({ name: "calls in flight", run: () => stuck.promise });
  lifecycle.onDrain({ name: "later", run: async () => void later++ });
  lifecycle.ready();
  lifecycle.onSignal("SIGTERM", 143);
  clock.pass(29_999);
  t.is(lifecycle.state.kind, "draining");
  clock.pass(1);
  t.is(await lifecycle.stopped, 5);
  t.regex(logged.join("\n"), /error: the drain timeout passed/);
  // The step ends after all; the next one is not begun.
  stuck.resolve();
  await stuck.promise;
  await Promise.resolve();
  t.is(later, 0);
});

for (const phase of ["leaving", "draining"] as const) {
  test(`a second signal while ${phase} ends at once with its own exit code`, async (t) => {
    const { lifecycle, clock } = scene({ drainDelayMs: phase === "leaving" ? 5_000 : 0 });
    lifecycle.onDrain({ name: "stuck", run: () => new Promise(() => {}) });
    lifecycle.ready();
    lifecycle.onSignal("SIGTERM", 143);
    t.is(lifecycle.state.kind, phase);
    lifecycle.onSignal("SIGINT", 130);
    t.is(await lifecycle.stopped, 130);
    t.is(clock.pending, 0);
  });
}

test("a third signal changes nothing", async (t) => {
  const { lifecycle, states } = scene();
  lifecycle.onDrain({ name: "stuck", run: () => new Promise(() => {}) });
  for (const code of [143, 130, 143]) lifecycle.onSignal("signal", code);
  t.is(await lifecycle.stopped, 130);
  t.deepEqual(states, ["leaving", "draining", "stopped"]);
});

test("a signal during the start also drains, and ready() then does nothing", async (t) => {
  const { lifecycle, states } = scene();
  lifecycle.onSignal("SIGTERM", 143);
  lifecycle.ready();
  t.is(await lifecycle.stopped, 0);
  t.false(states.includes("ready"));
});

test("a fatal error is logged, drains for a short time, and ends with 1", async (t) => {
  const { lifecycle, logged, states } = scene({ drainDelayMs: 60_000 });
  lifecycle.ready();
  lifecycle.onFatal(new Error("boom"));
  t.is(await lifecycle.stopped, 1);
  t.deepEqual(states, ["ready", "leaving", "draining", "stopped"]);
  t.is(logged[0], "fatal: an error that nothing handled");
});

test("the drain after a fatal error has its own timeout and still ends with 1", async (t) => {
  const { lifecycle, clock } = scene();
  lifecycle.onDrain({ name: "stuck", run: () => new Promise(() => {}) });
  lifecycle.ready();
  lifecycle.onFatal(new Error("boom"));
  clock.pass(5_000);
  t.is(await lifecycle.stopped, 1);
});

test("a fatal error within the drain delay drains now", async (t) => {
  const { lifecycle, clock } = scene({ drainDelayMs: 60_000 });
  lifecycle.ready();
  lifecycle.onSignal("SIGTERM", 143);
  lifecycle.onFatal(new Error("boom"));
  t.is(await lifecycle.stopped, 1);
  t.is(clock.pending, 0);
});

test("a step that fails does not keep the others from running, and the end is 1", async (t) => {
  const { lifecycle, logged } = scene();
  let ran = false;
  lifecycle.onDrain({
    name: "broken",
    async run() {
      throw new Error("no");
    },
  });
  lifecycle.onDrain({
    name: "next",
    async run() {
      ran = true;
    },
  });
  lifecycle.onSignal("SIGTERM", 143);
  t.is(await lifecycle.stopped, 1);
  t.true(ran);
  t.regex(logged.join("\n"), /error: stopping: no/);
});
