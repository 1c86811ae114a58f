import test from "ava";
import { localCall } from "../../support/call-context.ts";
import {
  type Flags,
  oldest,
  poison,
  SequenceCall,
  type Sequences,
  settle,
  startSequences,
} from "./summing-engine.ts";

/** Ends the turn, all runs, and so on, until nothing is left to run. */
async function runAll(sequences: Sequences): Promise<void> {
  sequences.endTurn();
  while (sequences.engine.open.length > 0) {
    for (const run of [...sequences.engine.open]) run.finish();
    await settle();
    sequences.endTurn();
  }
  await settle();
}

function outcomes(calls: readonly SequenceCall[]): (number | string | undefined)[] {
  return calls.map(({ outcome }) => outcome);
}

const first: Flags = { start: true };
const last: Flags = { end: true };

test("calls of one sequence run one after the other, and the state goes from one to the next", async (t) => {
  const sequences = startSequences();
  const { engine, endTurn } = sequences;
  const calls = [
    new SequenceCall(sequences, 5, 10, first),
    new SequenceCall(sequences, 5, 20),
    new SequenceCall(sequences, 5, 30, last),
  ];
  endTurn();
  t.is(engine.open.length, 1);
  t.deepEqual(engine.open[0]!.rows, [
    { id: 5, ready: true, start: true, end: false, x: 10, state: 0 },
  ]);
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [10, 30, 60]);
  t.deepEqual(
    engine.runs.map(({ rows }) => [rows.length, rows[0]!.start, rows[0]!.end]),
    [
      [1, true, false],
      [1, false, false],
      [1, false, true],
    ],
  );
  t.is(sequences.scheduler.active, 0);
  t.is(sequences.tensors.stateBytes, 0);
});

test("direct: a sequence keeps its row; a row without a call is not ready", async (t) => {
  const sequences = startSequences();
  const { engine, endTurn } = sequences;
  for (const id of [11, 12, 13]) new SequenceCall(sequences, id, id, first);
  await runAll(sequences);
  // Only the third goes on: two rows without a call before it.
  const call = new SequenceCall(sequences, 13, 1);
  endTurn();
  t.deepEqual(engine.open[0]!.rows, [
    { id: 0, ready: false, start: false, end: false, x: 0, state: 0 },
    { id: 0, ready: false, start: false, end: false, x: 0, state: 0 },
    { id: 13, ready: true, start: false, end: false, x: 1, state: 13 },
  ]);
  await runAll(sequences);
  t.is(call.outcome, 14);
  // A run counts the calls, not the rows without one.
  t.is(call.runRows, 1);
  // The first two were not touched by what ran in their rows.
  const others = [new SequenceCall(sequences, 11, 1), new SequenceCall(sequences, 12, 1)];
  await runAll(sequences);
  t.deepEqual(outcomes(others), [12, 13]);
});

test("direct: a run waits for enough rows, for the delay at most", async (t) => {
  const sequences = startSequences({
    strategy: { kind: "direct", maxDelayMs: 10, minimumUtilization: 0.75 },
  });
  const { engine, endTurn, clock } = sequences;
  new SequenceCall(sequences, 1, 1, first);
  endTurn();
  clock.advance(9);
  new SequenceCall(sequences, 2, 1, first);
  endTurn();
  t.is(engine.open.length, 0);
  clock.advance(1);
  t.is(engine.open[0]!.rows.length, 2);
  await runAll(sequences);
  for (const id of [1, 2]) new SequenceCall(sequences, id, 1);
  endTurn();
  t.is(engine.open.length, 0);
  new SequenceCall(sequences, 3, 1, first);
  endTurn();
  t.is(engine.open[0]!.rows.length, 3);
});

test("direct: a share of the rows that no binary fraction is, such as 0.6, is reached by 3 of 5", async (t) => {
  for (const minimumUtilization of [0.6, Math.fround(0.6)]) {
    const strategy = { kind: "direct", maxDelayMs: 10, minimumUtilization } as const;
    const sequences = startSequences({ strategy, slots: 5 });
    for (const id of [1, 2, 3]) new SequenceCall(sequences, id, 1, first);
    sequences.endTurn();
    t.is(sequences.engine.open[0]?.rows.length, 3);
  }
});

test("oldest: the calls that are ready longest are gathered, without gaps", async (t) => {
  const sequences = startSequences({ strategy: oldest, slots: 6, maxRows: 2 });
  const { engine, endTurn } = sequences;
  for (const id of [1, 2, 3]) new SequenceCall(sequences, id, id, first);
  new SequenceCall(sequences, 1, 5);
  endTurn();
  const ids = (): number[] => engine.open[0]!.rows.map(({ id }) => id);
  t.deepEqual(ids(), [1, 2]);
  engine.open[0]!.finish();
  await settle();
  endTurn();
  t.deepEqual(ids(), [3, 1]);
});

test("oldest: a preferred size is waited for, for the delay at most", async (t) => {
  const batch = { maxRows: 4, preferredRows: [2], maxDelayMs: 10 };
  const sequences = startSequences({ strategy: { ...oldest, batch } });
  const { engine, endTurn, clock } = sequences;
  new SequenceCall(sequences, 1, 1, first);
  endTurn();
  t.is(engine.open.length, 0);
  new SequenceCall(sequences, 2, 1, first);
  endTurn();
  t.is(engine.open[0]!.rows.length, 2);
  await runAll(sequences);
  new SequenceCall(sequences, 1, 1);
  endTurn();
  clock.advance(10);
  t.is(engine.open[0]!.rows.length, 1);
});

test("oldest: with several runs at once, answers keep the order of the runs if they are asked to", async (t) => {
  const order: number[] = [];
  const sequences = startSequences({
    strategy: { ...oldest, preserveOrder: true },
    maxRows: 1,
    runsPerInstance: 3,
  });
  const { engine, endTurn } = sequences;
  const calls = [1, 2, 3].map(
    (id) => new SequenceCall(sequences, id, id, first, (call) => order.push(call.id)),
  );
  endTurn();
  t.is(engine.open.length, 3);
  for (const run of engine.open.toReversed()) {
    run.finish();
    await settle();
  }
  t.deepEqual(order, [1, 2, 3]);
  t.deepEqual(outcomes(calls), [1, 2, 3]);
});

test("sequences beyond the slots wait and begin in the order in which they came", async (t) => {
  const sequences = startSequences({ slots: 1 });
  const { scheduler } = sequences;
  const calls = [1, 2, 3].flatMap((id) => [
    new SequenceCall(sequences, id, id, first),
    new SequenceCall(sequences, id, id, last),
  ]);
  t.is(scheduler.active, 1);
  t.is(scheduler.backlog, 2);
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [1, 2, 2, 4, 3, 6]);
  t.deepEqual(
    sequences.engine.runs.map(({ rows }) => rows[0]!.id),
    [1, 1, 2, 2, 3, 3],
  );
  t.is(scheduler.backlog, 0);
  t.is(scheduler.ends.end, 3);
});

test("sequences are spread over the instances, and stay on theirs", async (t) => {
  const sequences = startSequences({ instances: 2, slots: 2 });
  for (const id of [1, 2, 3, 4]) new SequenceCall(sequences, id, 0, first);
  await runAll(sequences);
  for (const id of [4, 3, 2, 1]) new SequenceCall(sequences, id, 0);
  await runAll(sequences);
  t.deepEqual(
    sequences.engine.runs.map(({ instance, rows }) => [instance, ...rows.map(({ id }) => id)]),
    [
      [0, 1, 3],
      [1, 2, 4],
      [0, 1, 3],
      [1, 2, 4],
    ],
  );
});

test("a call without start is refused, unless its sequence is under way", async (t) => {
  const sequences = startSequences();
  const never = new SequenceCall(sequences, 1, 1);
  const calls = [
    new SequenceCall(sequences, 2, 1, { start: true, end: true }),
    new SequenceCall(sequences, 2, 1),
  ];
  await runAll(sequences);
  const late = new SequenceCall(sequences, 2, 1);
  await runAll(sequences);
  t.deepEqual(outcomes([never, ...calls, late]), [
    "SEQUENCE_NOT_STARTED",
    1,
    "SEQUENCE_NOT_STARTED",
    "SEQUENCE_NOT_STARTED",
  ]);
});

test("a start in a sequence under way begins it anew", async (t) => {
  const sequences = startSequences();
  const calls = [
    new SequenceCall(sequences, 1, 5, first),
    new SequenceCall(sequences, 1, 6),
    new SequenceCall(sequences, 1, 7, first),
    new SequenceCall(sequences, 1, 8),
  ];
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [5, 11, 7, 15]);
  const again = [
    new SequenceCall(sequences, 1, 1, first),
    new SequenceCall(sequences, 1, 1, last),
    new SequenceCall(sequences, 1, 2, first),
  ];
  await runAll(sequences);
  t.deepEqual(outcomes(again), [1, 2, 2]);
  t.is(sequences.scheduler.ends.restart, 2);
});

test("one who uses the same id again and again lets others have the slot in between", async (t) => {
  const sequences = startSequences({ slots: 1 });
  const both = { start: true, end: true };
  for (let turn = 0; turn < 3; turn++) new SequenceCall(sequences, 1, turn, both);
  new SequenceCall(sequences, 2, 9, both);
  await runAll(sequences);
  t.deepEqual(
    sequences.engine.runs.map(({ rows }) => rows[0]!.id),
    [1, 2, 1, 1],
  );
});

test("a sequence without a call for too long ends, gives its slot away, and has to be started again", async (t) => {
  const sequences = startSequences({ slots: 1, idleMs: 1000 });
  const { clock, endTurn, scheduler, tensors, engine } = sequences;
  new SequenceCall(sequences, 1, 1, first);
  await runAll(sequences);
  t.is(tensors.stateBytes, 4);
  clock.advance(999);
  const inTime = new SequenceCall(sequences, 1, 1);
  const waits = new SequenceCall(sequences, 2, 7, first);
  endTurn();
  // Time in which the model runs is not idle, however long it is.
  clock.advance(5000);
  engine.open[0]!.finish();
  await settle();
  t.is(inTime.outcome, 2);
  clock.advance(999);
  t.is(scheduler.backlog, 1);
  clock.advance(1);
  t.is(scheduler.backlog, 0);
  await runAll(sequences);
  t.is(waits.outcome, 7);
  const late = new SequenceCall(sequences, 1, 1);
  await runAll(sequences);
  t.is(late.outcome, "SEQUENCE_NOT_STARTED");
  t.is(scheduler.ends.idle, 1);
});

test("a cancelled call that waits ends its sequence: those behind it are refused, those before run", async (t) => {
  const sequences = startSequences({ slots: 1 });
  const { scheduler, endTurn } = sequences;
  const calls = [
    new SequenceCall(sequences, 1, 1, first),
    new SequenceCall(sequences, 1, 2),
    new SequenceCall(sequences, 1, 3),
    new SequenceCall(sequences, 1, 4),
  ];
  const waits = new SequenceCall(sequences, 2, 9, first);
  endTurn();
  calls[2]!.abort.abort();
  const behind = new SequenceCall(sequences, 1, 5);
  await runAll(sequences);
  t.deepEqual(outcomes([...calls, behind, waits]), [
    1,
    3,
    "CALL_CANCELLED",
    "SEQUENCE_CANCELLED",
    "SEQUENCE_NOT_STARTED",
    9,
  ]);
  t.is(scheduler.ends.cancelled, 1);
});

test("a cancelled call that runs ends its sequence, and its slot is free when the run has ended", async (t) => {
  const sequences = startSequences({ slots: 1 });
  const { endTurn, engine } = sequences;
  const call = new SequenceCall(sequences, 1, 1, first);
  const next = new SequenceCall(sequences, 1, 2);
  const anew = new SequenceCall(sequences, 1, 3, first);
  const other = new SequenceCall(sequences, 2, 9, { start: true, end: true });
  endTurn();
  call.abort.abort();
  await settle();
  t.deepEqual(outcomes([call, next]), ["CALL_CANCELLED", "SEQUENCE_CANCELLED"]);
  endTurn();
  t.is(engine.open.length, 1);
  await runAll(sequences);
  t.deepEqual(outcomes([anew, other]), [3, 9]);
});

test("a call that comes cancelled ends its sequence behind those that wait", async (t) => {
  const sequences = startSequences();
  const { scheduler } = sequences;
  const begun = new SequenceCall(sequences, 1, 1, first);
  const dead = AbortSignal.abort();
  const request = {
    id: 1n,
    start: false,
    end: false,
    inputs: [],
    controls: [],
    outputNames: [],
    timeoutMs: 0,
    parameters: {},
    solo: false,
  };
  await t.throwsAsync(scheduler.run(localCall(dead), request), { message: /cancelled/ });
  const next = new SequenceCall(sequences, 1, 1);
  await runAll(sequences);
  t.deepEqual(outcomes([begun, next]), [1, "SEQUENCE_NOT_STARTED"]);
  t.is(scheduler.active, 0);
});

test("a sequence waits for a slot as long as each of its calls allows", async (t) => {
  const sequences = startSequences({ slots: 1, idleMs: 10_000 });
  const { clock, scheduler, endTurn } = sequences;
  new SequenceCall(sequences, 1, 1, first);
  const calls = [
    new SequenceCall(sequences, 2, 1, { start: true, timeoutMs: 50 }),
    new SequenceCall(sequences, 2, 2, { timeoutMs: 20 }),
    new SequenceCall(sequences, 2, 3),
  ];
  const patient = new SequenceCall(sequences, 3, 1, { start: true, timeoutMs: 500 });
  endTurn();
  clock.advance(19);
  await settle();
  t.deepEqual(outcomes(calls), [undefined, undefined, undefined]);
  clock.advance(1);
  await settle();
  t.deepEqual(outcomes(calls), Array(3).fill("SEQUENCE_TIMEOUT"));
  t.is(patient.outcome, undefined);
  clock.advance(500);
  await settle();
  t.is(patient.outcome, "SEQUENCE_TIMEOUT");
  t.is(scheduler.backlog, 0);
  t.is(scheduler.ends.timeout, 2);
  const again = new SequenceCall(sequences, 2, 1);
  await settle();
  t.is(again.outcome, "SEQUENCE_NOT_STARTED");
});

test("a call that fails changes nothing for the others, nor for its own sequence", async (t) => {
  const sequences = startSequences();
  const calls = [1, 2, 3].map((id) => new SequenceCall(sequences, id, id, first));
  await runAll(sequences);
  const bad = new SequenceCall(sequences, 2, poison);
  const others = [new SequenceCall(sequences, 1, 10), new SequenceCall(sequences, 3, 10)];
  await runAll(sequences);
  t.deepEqual(outcomes([...calls, bad, ...others]), [1, 2, 3, "poisoned", 11, 13]);
  const after = new SequenceCall(sequences, 2, 20);
  await runAll(sequences);
  t.is(after.outcome, 22);
});

test("a start that fails leaves nothing of the sequence before it", async (t) => {
  const sequences = startSequences();
  const calls = [
    new SequenceCall(sequences, 1, 5, first),
    new SequenceCall(sequences, 1, poison, first),
    new SequenceCall(sequences, 1, 1),
  ];
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [5, "poisoned", 1]);
});

test("an instance that forgot its sequences ends them, and only them", async (t) => {
  const sequences = startSequences({ instances: 2, slots: 2 });
  const { engine, scheduler } = sequences;
  for (const id of [1, 2]) new SequenceCall(sequences, id, id, first);
  await runAll(sequences);
  engine.change(0, "lost");
  const calls = [new SequenceCall(sequences, 1, 1), new SequenceCall(sequences, 2, 1)];
  await runAll(sequences);
  t.deepEqual(outcomes(calls), ["SEQUENCE_NOT_STARTED", 3]);
  t.is(scheduler.ends.lost, 1);
});

test("while an instance is started again others take the sequences, and none is given to it", async (t) => {
  const sequences = startSequences({ instances: 2, slots: 1 });
  const { engine, scheduler } = sequences;
  engine.change(0, "lost");
  const calls = [1, 2].map((id) => new SequenceCall(sequences, id, id, first));
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [1, undefined]);
  t.is(engine.runs[0]!.instance, 1);
  engine.change(1, "lost");
  // Nobody could say when it would be computed.
  const refused = new SequenceCall(sequences, 3, 3, first);
  await runAll(sequences);
  t.is(refused.outcome, "WORKER_LOST");
  t.is(scheduler.backlog, 1);
  engine.change(0, "back");
  await runAll(sequences);
  t.is(calls[1]!.outcome, 2);
  t.is(engine.runs[1]!.instance, 0);
});

test("a sequence that has not begun when its instance ends begins on another", async (t) => {
  const sequences = startSequences({ instances: 2, slots: 1 });
  const call = new SequenceCall(sequences, 1, 5, first);
  sequences.engine.change(0, "lost");
  await runAll(sequences);
  t.is(call.outcome, 5);
  t.is(sequences.engine.runs[0]!.instance, 1);
  t.is(sequences.scheduler.ends.lost, 0);
});

test("a run that fails because its instance ended refuses the calls behind it, up to the next start", async (t) => {
  const sequences = startSequences();
  const { engine, endTurn } = sequences;
  const calls = [
    new SequenceCall(sequences, 1, 1, first),
    new SequenceCall(sequences, 1, 2),
    new SequenceCall(sequences, 1, 3, first),
  ];
  endTurn();
  engine.open[0]!.finish(new Error("the thread ended"));
  engine.change(0, "lost");
  await settle();
  endTurn();
  await settle();
  t.deepEqual(outcomes(calls), ["the thread ended", "SEQUENCE_LOST", undefined]);
  engine.change(0, "back");
  await runAll(sequences);
  t.is(calls[2]!.outcome, 3);
  t.is(sequences.scheduler.ends.lost, 1);
});

test("states above the limit end the sequence that would exceed it", async (t) => {
  const sequences = startSequences({ stateLimitBytes: 8 });
  const calls = [1, 2, 3].map((id) => new SequenceCall(sequences, id, id, first));
  const behind = new SequenceCall(sequences, 3, 1);
  await runAll(sequences);
  t.deepEqual(outcomes([...calls, behind]), [1, 2, "SEQUENCE_STATES_FULL", "SEQUENCE_NOT_STARTED"]);
  t.is(sequences.tensors.stateBytes, 8);
  const goesOn = new SequenceCall(sequences, 1, 1, last);
  await runAll(sequences);
  t.is(goesOn.outcome, 2);
  t.is(sequences.tensors.stateBytes, 4);
});

test("no more calls wait than may; one that runs at once does not wait", async (t) => {
  const sequences = startSequences({ limit: 0, slots: 1 });
  const { endTurn } = sequences;
  const calls = [new SequenceCall(sequences, 1, 1, first), new SequenceCall(sequences, 1, 2)];
  endTurn();
  calls.push(new SequenceCall(sequences, 1, 3), new SequenceCall(sequences, 2, 1, first));
  await runAll(sequences);
  t.deepEqual(outcomes(calls), [1, "QUEUE_FULL", "QUEUE_FULL", "QUEUE_FULL"]);
  // What was refused did not count: the sequence goes on.
  const next = new SequenceCall(sequences, 1, 2);
  await runAll(sequences);
  t.is(next.outcome, 3);
});

test("calls of different shapes share no run, and keep their rows", async (t) => {
  const sequences = startSequences();
  const { engine } = sequences;
  for (const [id, width] of [
    [1, 1],
    [2, 2],
    [3, 1],
  ]) {
    new SequenceCall(sequences, id!, id!, { start: true, width: width! });
  }
  await runAll(sequences);
  t.deepEqual(
    engine.runs.map(({ rows }) => rows.map(({ id }) => id)),
    [
      [1, 0, 3],
      [0, 2],
    ],
  );
});

test("idle waits for what runs and waits, and ends sequences whose slots others wait for", async (t) => {
  const sequences = startSequences({ slots: 1, idleMs: 3_600_000 });
  new SequenceCall(sequences, 1, 1, first);
  const waits = new SequenceCall(sequences, 2, 2, first);
  await runAll(sequences);
  t.is(waits.outcome, undefined);
  let idle = false;
  void sequences.scheduler.idle().then(() => (idle = true));
  await settle();
  t.false(idle);
  await runAll(sequences);
  t.is(waits.outcome, 2);
  t.true(idle);
});
