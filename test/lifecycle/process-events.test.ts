import { EventEmitter } from "node:events";
import test from "ava";
import type { Lifecycle } from "../../server/lifecycle/lifecycle.ts";
import { connectProcess } from "../../server/lifecycle/process-events.ts";

function scene() {
  const calls: string[] = [];
  const lifecycle: Lifecycle = {
    state: { kind: "ready" },
    stopped: new Promise(() => {}),
    onDrain() {},
    ready() {},
    onSignal: (signal, exitCode) => calls.push(`${signal} ${exitCode}`),
    onFatal: (error) => calls.push(`fatal ${(error as Error).message}`),
  };
  const events = new EventEmitter();
  const clock = { now: 0 };
  const disconnect = connectProcess(lifecycle, events, () => clock.now);
  return { calls, events, clock, disconnect };
}

test("signals reach the lifecycle with the exit codes of a shell", (t) => {
  const { calls, events } = scene();
  events.emit("SIGTERM");
  events.emit("SIGINT");
  t.deepEqual(calls, ["SIGTERM 143", "SIGINT 130"]);
});

test("a signal that comes again within half a second is the same one", (t) => {
  const { calls, events, clock } = scene();
  events.emit("SIGINT");
  clock.now = 400;
  events.emit("SIGINT");
  clock.now = 899;
  events.emit("SIGINT");
  t.deepEqual(calls, ["SIGINT 130"]);
  clock.now = 1_399;
  events.emit("SIGINT");
  t.deepEqual(calls, ["SIGINT 130", "SIGINT 130"]);
});

test("errors that nothing handled reach the lifecycle", (t) => {
  const { calls, events } = scene();
  events.emit("uncaughtException", new Error("a"));
  events.emit("unhandledRejection", new Error("b"));
  t.deepEqual(calls, ["fatal a", "fatal b"]);
});

test("a disconnected lifecycle hears nothing", (t) => {
  const { calls, events, disconnect } = scene();
  disconnect();
  events.emit("SIGTERM");
  t.deepEqual(calls, []);
  t.is(events.listenerCount("uncaughtException"), 0);
});
