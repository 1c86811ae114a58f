import test from "ava";
import fc from "fast-check";
import {
  direct,
  type Flags,
  type OpenRun,
  oldest,
  SequenceCall,
  type Sequences,
  type Surroundings,
  settle,
  startSequences,
} from "./summing-engine.ts";

const ids = 4;
const idleMs = 100;

/** What may happen. */
type Event =
  | {
      readonly kind: "call";
      readonly id: number;
      readonly poisoned: boolean;
      readonly flags: Flags;
    }
  | { readonly kind: "turn" }
  | { readonly kind: "finish"; readonly run: number }
  | { readonly kind: "cancel"; readonly call: number }
  | { readonly kind: "advance"; readonly ms: number }
  | { readonly kind: "lost" | "back"; readonly instance: number };

const events: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      id: fc.integer({ min: 1, max: ids }),
      poisoned: fc.oneof({ weight: 12, arbitrary: fc.constant(false) }, fc.constant(true)),
      flags: fc.record({
        start: fc.oneof({ weight: 2, arbitrary: fc.constant(false) }, fc.constant(true)),
        end: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, fc.constant(true)),
        timeoutMs: fc.oneof(
          { weight: 5, arbitrary: fc.constant(0) },
          fc.integer({ min: 1, max: 60 }),
        ),
        width: fc.oneof({ weight: 5, arbitrary: fc.constant(1) }, fc.constant(2)),
      }),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: "turn" as const }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("finish" as const), run: fc.nat({ max: 3 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("cancel" as const), call: fc.nat({ max: 40 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.integer({ min: 1, max: 150 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("lost" as const, "back" as const),
      instance: fc.nat({ max: 1 }),
    }),
  },
);

const surroundings: fc.Arbitrary<Surroundings> = fc
  .record({
    kind: fc.constantFrom("direct" as const, "oldest" as const),
    instances: fc.integer({ min: 1, max: 2 }),
    slots: fc.integer({ min: 1, max: 3 }),
    maxRows: fc.integer({ min: 1, max: 3 }),
    limit: fc.constantFrom(1, 3, 1000),
    maxDelayMs: fc.constantFrom(0, 20),
    minimumUtilization: fc.constantFrom(0, 0.6, 1),
    preferredRows: fc.constantFrom([], [2]),
    runsPerInstance: fc.integer({ min: 1, max: 2 }),
    preserveOrder: fc.boolean(),
    afterFailure: fc.constantFrom("run one by one" as const, "fail" as const),
  })
  .map((given) => {
    const { instances, slots, limit, maxDelayMs, minimumUtilization, preserveOrder } = given;
    const { afterFailure } = given;
    const rest = { instances, slots, limit, idleMs, afterFailure };
    if (given.kind === "direct") {
      // A batch has a row for each slot.
      return { ...rest, strategy: { ...direct, maxDelayMs, minimumUtilization } };
    }
    const { maxRows, preferredRows, runsPerInstance } = given;
    const batch = { maxRows, preferredRows: preferredRows.filter((n) => n <= maxRows), maxDelayMs };
    return { ...rest, maxRows, runsPerInstance, strategy: { ...oldest, batch, preserveOrder } };
  });

/**
 * A plain account of each id, of what was accepted and in which order, that knows nothing of slots, batches
 * and timers. It says whether a sequence is under way, and what a sum must be.
 */
class Account {
  /** Accepted calls, in order of arrival. */
  readonly accepted: SequenceCall[] = [];
  open = false;
  /** When the model ended the last run of them, in ms. */
  lastMs = 0;

  /** The calls of a call's own sequence up to it, from its start on. */
  before(call: SequenceCall): readonly SequenceCall[] {
    const calls = this.accepted.slice(0, this.accepted.indexOf(call) + 1);
    return calls.slice(calls.findLastIndex(({ start }) => start));
  }
}

async function play(given: Surroundings, happenings: readonly Event[]): Promise<void> {
  const sequences: Sequences = startSequences(given);
  const { clock, engine, scheduler, tensors } = sequences;
  const { slots = 1, instances = 1, maxRows = slots, runsPerInstance = 1 } = given;
  const all: SequenceCall[] = [];
  const accounts = new Map<number, Account>();
  for (let id = 1; id <= ids; id++) accounts.set(id, new Account());
  const callsOf = new Map<OpenRun, readonly SequenceCall[]>();
  const rowsOf = new Map<SequenceCall, string>();
  let seenRuns = 0;

  let problem: Error | undefined;
  const fail = (why: string): never => {
    // Some are found where an answer comes, and reach the test at its end.
    problem ??= new Error(why);
    throw problem;
  };
  const running = (): Set<SequenceCall> =>
    new Set(engine.open.flatMap((run) => callsOf.get(run) ?? []));

  /** Calls that the model has answered; with an order of answers they may still wait for others. */
  const computed = new Set<SequenceCall>();
  const isOver = (call: SequenceCall): boolean => call.outcome !== undefined || computed.has(call);
  const finish = (run: OpenRun): void => {
    const calls = callsOf.get(run)!;
    run.finish();
    const failed = calls.some(({ x }) => x < 0);
    for (const call of calls) {
      accounts.get(call.id)!.lastMs = clock.now();
      // A run that fails may be repeated call by call.
      if (!failed || calls.length === 1 || given.afterFailure === "fail") computed.add(call);
    }
  };

  const down = new Set<number>();
  /** An instance ends: its runs fail, and the sequences that have begun on it are over. */
  const lose = (instance: number): void => {
    // One that keeps nothing cannot lose it.
    if (given.afterFailure !== "fail" || instance >= instances || down.has(instance)) return;
    down.add(instance);
    for (const run of engine.open.filter((each) => each.instance === instance)) {
      run.finish(new Error("lost"));
    }
    for (const account of accounts.values()) {
      const start = account.accepted.findLast((each) => each.start);
      if (start && rowsOf.get(start)?.startsWith(`${instance}:`)) account.open = false;
    }
    engine.change(instance, "lost");
  };
  const restore = (instance: number): void => {
    if (down.delete(instance)) engine.change(instance, "back");
  };

  /** Holds the runs that have begun against what a run may be. */
  const lookAtRuns = (): void => {
    for (; seenRuns < engine.runs.length; seenRuns++) {
      const run = engine.runs[seenRuns]!;
      const { rows, instance } = run;
      if (down.has(instance)) fail("a run of an instance that is not there");
      if (rows.length > maxRows) fail(`${rows.length} rows in a run of ${maxRows}`);
      const calls = rows.flatMap((row, number) => {
        if (!row.ready)
          return row.id === 0 && row.x === 0 && row.state === 0 ? [] : fail("a gap with contents");
        // Each value is sent once.
        const call = all.find(({ x }) => x === row.x);
        if (call?.id !== row.id) return fail(`a run of a call of ${row.id} that nobody made`);
        // What is run once more, after a run that failed, has a run for itself.
        if (!rowsOf.has(call)) rowsOf.set(call, `${instance}:${number}`);
        return [call];
      });
      if (new Set(calls.map(({ id }) => id)).size < calls.length)
        fail("twice the same id in a run");
      const busy = new Set([...running()].map(({ id }) => id));
      if (calls.some(({ id }) => busy.has(id))) fail("two runs with the same id at once");
      if (engine.open.filter((each) => each.instance === instance).length > runsPerInstance) {
        fail("too many runs of an instance");
      }
      callsOf.set(run, calls);
    }
    if (scheduler.active > slots * instances) fail("more sequences than slots");
  };

  const answered = (call: SequenceCall): void => {
    const account = accounts.get(call.id)!;
    const { outcome } = call;
    if (outcome === "SEQUENCE_NOT_STARTED" || outcome === "QUEUE_FULL") return;
    if (typeof outcome !== "number") return;
    // The sum of its own sequence, of the calls that did not fail, in the order in which they came.
    const calls = account.before(call);
    const sum = calls
      .filter((each) => each.outcome !== "poisoned")
      .reduce((total, { x }) => total + x, 0);
    if (outcome !== sum) fail(`a sum of ${outcome} in place of ${sum}`);
    for (const each of calls) {
      const right = typeof each.outcome === "number" || each.outcome === "poisoned";
      if (!right) fail(`answered although a call before it is ${each.outcome}`);
    }
  };

  const begin = (event: Extract<Event, { kind: "call" }>): void => {
    const account = accounts.get(event.id)!;
    const idle = account.accepted.every(isOver) && clock.now() >= account.lastMs + idleMs;
    const open = account.open && !idle;
    const expected = event.flags.start || open;
    const before = scheduler.waiting;
    const x = event.poisoned ? -1 - all.length : 1 + all.length;
    const call = new SequenceCall(sequences, event.id, x, event.flags, answered);
    all.push(call);
    const taken = scheduler.waiting > before;
    if (taken && !expected) fail("taken, and no sequence is under way");
    const full = before >= (given.limit ?? 1000);
    const nobody = event.flags.start && down.size === instances;
    if (!taken && expected && !full && !nobody) fail("refused, and a sequence is under way");
    if (!taken) {
      account.open = open;
      return;
    }
    account.accepted.push(call);
    account.open = !call.end;
  };

  /** A cancelled call, or one that waited too long, ends its sequence. */
  const closeAfter = (call: SequenceCall): void => {
    const account = accounts.get(call.id)!;
    const behind = account.accepted.slice(account.accepted.indexOf(call) + 1);
    if (!behind.some(({ start }) => start)) account.open = false;
  };

  const noteRefusals = (): void => {
    for (const call of all) {
      if (call.outcome === "SEQUENCE_TIMEOUT") closeAfter(call);
    }
  };

  const turn = async (): Promise<void> => {
    sequences.endTurn();
    await settle();
    lookAtRuns();
  };

  for (const event of happenings) {
    switch (event.kind) {
      case "call":
        begin(event);
        break;
      case "turn":
        await turn();
        break;
      case "finish": {
        const run = engine.open[event.run % Math.max(engine.open.length, 1)];
        if (!run) break;
        finish(run);
        await settle();
        break;
      }
      case "cancel": {
        const call = all[event.call % Math.max(all.length, 1)];
        if (!call || isOver(call)) break;
        call.abort.abort();
        closeAfter(call);
        await settle();
        break;
      }
      case "lost":
        lose(event.instance);
        await settle();
        break;
      case "back":
        restore(event.instance);
        break;
      case "advance":
        clock.advance(event.ms);
        await settle();
        noteRefusals();
        lookAtRuns();
        break;
    }
  }

  // What is left comes to an end: runs finish, and sequences without a call give their slots to others.
  for (const instance of [...down]) restore(instance);
  for (let round = 0; all.some(({ outcome }) => outcome === undefined); round++) {
    if (round > 10_000) fail("a call is never answered");
    await turn();
    if (engine.open.length > 0) finish(engine.open[0]!);
    else clock.advance(idleMs);
    await settle();
  }
  while (engine.open.length > 0) engine.open[0]!.finish();
  await settle();
  sequences.endTurn();
  clock.advance(2 * idleMs);
  sequences.endTurn();
  for (const call of all) {
    if (call.answers !== 1) fail(`answered ${call.answers} times`);
  }
  // With strategy direct a sequence has one row, from its start to its end.
  if (given.strategy?.kind === "direct" && maxRows > 1) {
    for (const account of accounts.values()) {
      for (const call of account.accepted) {
        const rows = account.before(call).flatMap((each) => rowsOf.get(each) ?? []);
        if (new Set(rows).size > 1) fail(`a sequence in rows ${rows.join(", ")}`);
      }
    }
  }
  if (scheduler.waiting + scheduler.running + scheduler.active + scheduler.backlog > 0) {
    fail("something is left of sequences that are over");
  }
  if (tensors.stateBytes !== 0) fail(`${tensors.stateBytes} bytes of states are left`);
  await scheduler.idle();
  if (problem) throw problem;
}

test("whatever happens, each call is answered once, in order, with the sum of its own sequence", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      surroundings,
      fc.array(events, { minLength: 1, maxLength: 200, size: "max" }),
      (given, happenings) => play(given, happenings),
    ),
    { numRuns: 600, includeErrorInReport: true },
  );
  t.pass();
});
