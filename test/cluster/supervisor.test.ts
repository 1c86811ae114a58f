import test from "ava";
import { toPortable } from "../../server/errors/portable-error.ts";
import { anySocket, bringUp, first, kinds, startFakes } from "./fake-workers.ts";

const crash = { kind: "signal", signal: "SIGSEGV" } as const;
const payload = new Uint8Array([7]);

test("workers start with number and settings, and may serve when all have loaded", (t) => {
  const { workers, told, supervisor } = startFakes(2);
  const [one, two] = workers;
  t.deepEqual(first(two!, "start").start, {
    number: 2,
    settings: { color: "green" },
    tasks: [],
    accept: "at once",
  });
  bringUp(one!);
  t.deepEqual(kinds(one!), ["start"]);
  t.is(told.ready, 0);
  bringUp(two!);
  t.deepEqual([kinds(one!).at(-1), kinds(two!).at(-1)], ["serve", "serve"]);
  t.is(told.ready, 1);
  t.is(supervisor.stats.serving, 2);
});

test("a worker that dies is started again after its delay, takes connections when ready, and the others go on", (t) => {
  const { workers, told, supervisor, clock, log } = startFakes(2);
  bringUp(...workers);
  workers[0]!.end(crash);
  t.deepEqual(told.ends, [1]);
  t.is(supervisor.stats.serving, 1);
  t.is(workers.length, 2);
  supervisor.give(anySocket(), "tcp");
  supervisor.give(anySocket(), "tcp");
  t.is(workers[1]!.sockets.length, 2);

  clock.advance(99);
  t.is(workers.length, 2);
  clock.advance(1);
  const again = workers[2]!;
  t.is(again.number, 1);
  t.is(first(again, "start").start.accept, "when ready");
  supervisor.give(anySocket(), "tcp");
  t.is(workers[1]!.sockets.length, 3);
  again.say({ kind: "loaded" });
  t.is(kinds(again).at(-1), "serve");
  again.say({ kind: "accepting" });
  supervisor.give(anySocket(), "tcp");
  t.is(again.sockets.length, 1);
  t.is(supervisor.stats.restarts, 1);
  t.is(told.ready, 1);
  t.true(log.entries.some(({ level, fields }) => level === "error" && "worker" in fields));
});

test("the delay doubles with failures in a row, up to 30 s, and a worker that served a minute begins anew", (t) => {
  const { workers, clock } = startFakes(2);
  bringUp(...workers);
  const delays: number[] = [];
  for (let failure = 0; failure < 11; failure++) {
    workers.at(failure === 0 ? 0 : -1)!.end(crash);
    delays.push(clock.due()[0]!);
    clock.advance(30_000);
  }
  t.deepEqual(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  bringUp(workers.at(-1)!);
  clock.advance(60_000);
  workers.at(-1)!.end(crash);
  t.deepEqual(clock.due(), [100]);
});

test("while the start goes on, an end for a reason that lasts ends all with its words and its code", async (t) => {
  const { workers, told, supervisor } = startFakes(2);
  workers[0]!.say({ kind: "failed", text: "setting tls-key: no such file\n", exitCode: 2 });
  workers[0]!.end({ kind: "exit", code: 2 });
  t.deepEqual(told.failures, ["setting tls-key: no such file\n"]);
  t.is(kinds(workers[1]!).at(-1), "signal");
  workers[1]!.end({ kind: "exit", code: 2 });
  t.is(await supervisor.ended, 2);
});

test("five crashes in a row at the start are enough; once ready it never gives up while one serves", async (t) => {
  const start = startFakes(2);
  for (let failure = 0; failure < 5; failure++) {
    start.workers.findLast(({ number }) => number === 1)!.end({ kind: "exit", code: 9 });
    start.clock.advance(30_000);
  }
  t.is(start.workers.length, 2 + 4);
  start.workers[1]!.end({ kind: "exit", code: 0 });
  t.is(await start.supervisor.ended, 9);

  const later = startFakes(2);
  bringUp(...later.workers);
  for (let failure = 0; failure < 20; failure++) {
    later.workers.findLast(({ number }) => number === 1)!.end({ kind: "exit", code: 4 });
    later.clock.advance(30_000);
  }
  t.is(later.workers.length, 2 + 20);
  t.is(later.supervisor.stats.serving, 1);
});

test("stop passes the signal on, does not start anything again, and gives the worst exit code", async (t) => {
  const { workers, supervisor, clock } = startFakes(3);
  bringUp(...workers);
  workers[2]!.end(crash);
  supervisor.stop("SIGINT");
  t.deepEqual(workers[0]!.sent.at(-1), { kind: "signal", signal: "SIGINT" });
  clock.advance(60_000);
  t.is(workers.length, 3);
  workers[0]!.end({ kind: "exit", code: 5 });
  workers[1]!.end({ kind: "exit", code: 0 });
  t.is(await supervisor.ended, 5);
});

test("a connection that comes while all workers leave is closed", (t) => {
  const { workers, supervisor } = startFakes(2);
  bringUp(...workers);
  supervisor.stop("SIGTERM");
  supervisor.give(anySocket(), "tcp");
  t.is(workers[0]!.sockets.length, 1);
  for (const worker of workers) worker.say({ kind: "leaving" });
  const late = anySocket();
  supervisor.give(late, "tcp");
  t.true(late.destroyed);
});

test("connections that a worker did not take before it died go to the others, and no other is held", (t) => {
  const { workers, supervisor } = startFakes(2);
  bringUp(...workers);
  const [one, two] = workers;
  one!.takes = false;
  const sockets = Array.from({ length: 6 }, anySocket);
  for (const socket of sockets) supervisor.give(socket, "tcp");
  t.deepEqual([one!.sockets.length, two!.sockets.length], [1, 3]);
  one!.say({ kind: "took" });
  t.is(one!.sockets.length, 2);
  const [taken, lost] = one!.sockets;
  t.true(taken!.destroyed);
  t.false(lost!.destroyed);
  one!.end(crash);
  t.is(two!.sockets.length, 5);
  t.true(two!.sockets.includes(lost!));
  t.false(two!.sockets.includes(taken!));
  t.true(sockets.every(({ destroyed }) => destroyed));
});

test("a task reaches every worker; whoever asked hears when all have done it", async (t) => {
  const { workers } = startFakes(2);
  bringUp(...workers);
  const [one, two] = workers;
  const task = { name: "load", key: "iris", payload };
  one!.say({ kind: "everywhere", id: 40, task });
  const ids = [one!, two!].map((worker) => first(worker, "task").id);
  one!.say({ kind: "did", id: ids[0]!, error: undefined });
  t.false(kinds(one!).includes("done"));
  two!.say({ kind: "did", id: ids[1]!, error: toPortable(new Error("no")) });
  await Promise.resolve();
  await new Promise(setImmediate);
  const done = first(one!, "done");
  t.is(done.id, 40);
  t.is(done.error?.reason, "INTERNAL");
});

test("a worker that is started again gets what the others have done, and what they are at", async (t) => {
  const { workers, clock } = startFakes(2);
  bringUp(...workers);
  const [one, two] = workers;
  const unload = { name: "unload", key: "iris", payload };
  two!.say({ kind: "everywhere", id: 1, task: unload });
  for (const worker of [one!, two!]) {
    worker.say({ kind: "did", id: first(worker, "task").id, error: undefined });
  }
  await new Promise(setImmediate);
  one!.end(crash);
  const load = { name: "load", key: "digits", payload };
  two!.say({ kind: "everywhere", id: 2, task: load });
  clock.advance(100);
  const again = workers[2]!;
  t.deepEqual(first(again, "start").start.tasks, [unload]);
  t.deepEqual(first(again, "task").task, load);
});

test("a question goes to all that answer calls; one that dies or is silent is left out and counted", async (t) => {
  const { workers, supervisor, clock } = startFakes(3);
  bringUp(...workers);
  const gathered = supervisor.gather({ name: "metrics", payload });
  const id = first(workers[0]!, "question").id;
  workers[1]!.say({ kind: "answered", id, answer: "of two" });
  workers[0]!.end(crash);
  clock.advance(2_000);
  t.deepEqual(await gathered, { answers: [{ worker: 2, answer: "of two" }], missing: 2 });
  t.is(supervisor.stats.missedAnswers, 2);
});

test("kill ends every process at once", async (t) => {
  const { workers, supervisor } = startFakes(2);
  bringUp(...workers);
  supervisor.stop("SIGTERM");
  supervisor.kill();
  t.true(workers.every(({ killed }) => killed));
  t.is(await supervisor.ended, 1);
});

test("resize starts workers in free places; those that are too many drain and are not started again", async (t) => {
  const { workers, supervisor } = startFakes(1, { most: 3 });
  bringUp(workers[0]!);
  supervisor.resize(3);
  t.deepEqual(
    workers.map(({ number }) => number),
    [1, 2, 3],
  );
  t.is(first(workers[1]!, "start").start.accept, "when ready");
  bringUp(workers[1]!, workers[2]!);
  t.is(supervisor.stats.serving, 3);
  for (let count = 0; count < 5; count++) supervisor.give(anySocket(), "tcp");
  workers[1]!.say({ kind: "closed", count: 2 });
  supervisor.resize(2);
  // The second has none left, the others have two and one.
  t.deepEqual(
    workers.map((worker) => kinds(worker).at(-1) === "signal"),
    [false, true, false],
  );
  supervisor.give(anySocket(), "tcp");
  supervisor.give(anySocket(), "tcp");
  t.is(workers[1]!.sockets.length, 2);
  workers[1]!.end({ kind: "exit", code: 0 });
  t.is(workers.length, 3);
  t.is(supervisor.stats.wanted, 2);
  supervisor.resize(9);
  t.is(supervisor.stats.wanted, 3);
  t.is(workers[3]!.number, 2);
});

test("a worker that starts is the first to go, and one that waits for its restart goes at once", (t) => {
  const { workers, supervisor, clock } = startFakes(1, { most: 3 });
  bringUp(workers[0]!);
  supervisor.resize(3);
  workers[2]!.end(crash);
  supervisor.resize(1);
  t.is(kinds(workers[1]!).at(-1), "signal");
  t.is(kinds(workers[0]!).at(-1), "serve");
  clock.advance(60_000);
  t.is(workers.length, 3);
  // What it says while it ends does not make it one that takes connections.
  workers[1]!.say({ kind: "accepting" });
  workers[1]!.say({ kind: "loaded" });
  t.is(supervisor.stats.serving, 1);
  supervisor.give(anySocket(), "tcp");
  t.is(workers[0]!.sockets.length, 1);
});

test("while none is there connections wait, tell of it, and go to the first that comes", (t) => {
  let waited = 0;
  const { workers, supervisor } = startFakes(1, { most: 1, onWaiting: () => waited++ });
  bringUp(workers[0]!);
  supervisor.resize(0);
  workers[0]!.end({ kind: "exit", code: 0 });
  t.is(supervisor.stats.serving, 0);
  supervisor.give(anySocket(), "tcp");
  t.is(waited, 1);
  t.is(supervisor.stats.waitingConnections, 1);
  supervisor.resize(1);
  bringUp(workers[1]!);
  t.is(workers[1]!.sockets.length, 1);
  t.is(supervisor.stats.waitingConnections, 0);
});

test("wanted again while it still drains, a place is filled when its process has ended", (t) => {
  const { workers, supervisor } = startFakes(1, { most: 1 });
  bringUp(workers[0]!);
  supervisor.resize(0);
  supervisor.resize(1);
  t.is(workers.length, 1);
  workers[0]!.end({ kind: "exit", code: 0 });
  t.is(workers.length, 2);
});

test("the others part with a newcomer's share of connections", (t) => {
  const { workers, supervisor } = startFakes(1, { most: 3 });
  bringUp(workers[0]!);
  for (let count = 0; count < 7; count++) supervisor.give(anySocket(), "tcp");
  supervisor.resize(2);
  workers[1]!.say({ kind: "loaded" });
  t.deepEqual(first(workers[0]!, "shed"), { kind: "shed", count: 3 });
});

test("the end waits for those that drain already, without a second signal", async (t) => {
  const { workers, supervisor } = startFakes(2);
  bringUp(...workers);
  supervisor.resize(1);
  supervisor.stop("SIGTERM");
  for (const worker of workers) {
    t.is(kinds(worker).filter((kind) => kind === "signal").length, 1);
    worker.end({ kind: "exit", code: 0 });
  }
  t.is(await supervisor.ended, 0);
});
