import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import test from "ava";
import type { FromWorker, ToWorker } from "../../server/cluster/messages.ts";
import { type LinkedProcess, SupervisorLink } from "../../server/cluster/supervisor-link.ts";
import { modelNotFound } from "../../server/errors/model-errors.ts";
import { toPortable } from "../../server/errors/portable-error.ts";
import { anySocket } from "./fake-workers.ts";

interface FakeProcess extends EventEmitter {
  readonly sent: FromWorker[];
}

function linkOf(): { link: SupervisorLink<string>; own: FakeProcess; tell: Tell } {
  const sent: FromWorker[] = [];
  const own = Object.assign(new EventEmitter(), {
    sent,
    connected: true,
    send: (message: FromWorker, _: undefined, __: object, done: () => void) => {
      sent.push(message);
      done();
      return true;
    },
  });
  const link = new SupervisorLink<string>(own as LinkedProcess);
  return { link, own, tell: (message, socket) => void own.emit("message", message, socket) };
}

type Tell = (message: ToWorker<string>, socket?: Socket) => void;

test("signals come from the supervisor alone, also one that came before anybody listened", (t) => {
  const { link, own, tell } = linkOf();
  const got: string[] = [];
  tell({ kind: "signal", signal: "SIGTERM" });
  link.events.on("SIGTERM", () => got.push("early"));
  t.deepEqual(got, ["early"]);
  own.emit("SIGTERM");
  own.emit("SIGINT");
  t.deepEqual(got, ["early"]);
  own.emit("disconnect");
  t.deepEqual(got, ["early", "early"]);
  // One that ends a process without a listener.
  t.true(own.listenerCount("SIGINT") > 0);
});

test("a task that all have done resolves, one that failed rejects with the error made again", async (t) => {
  const { link, own, tell } = linkOf();
  const task = { name: "load", key: "iris", payload: new Uint8Array(0) };
  const [good, bad] = [link.everywhere(task), link.everywhere(task)];
  const ids = own.sent.map((message) => (message as { id: number }).id);
  tell({ kind: "done", id: ids[1]!, error: toPortable(modelNotFound("iris")) });
  tell({ kind: "done", id: ids[0]!, error: undefined });
  await good;
  const error = await t.throwsAsync(bad);
  t.is((error as unknown as { reason: string }).reason, "MODEL_NOT_FOUND");
});

test("connections are served, and those that close together are told of together", async (t) => {
  const { link, own, tell } = linkOf();
  const served: [Socket, string][] = [];
  link.take({
    shed() {},
    serve: (socket, listener) => served.push([socket, listener]),
    doTask: async () => {},
    answer: async () => {},
  });
  const [one, two] = [anySocket(), anySocket()];
  tell({ kind: "connection", listener: "tcp" }, one);
  tell({ kind: "connection", listener: "unix" }, two);
  tell({ kind: "connection", listener: "tcp" });
  t.deepEqual(served, [
    [one, "tcp"],
    [two, "unix"],
  ]);
  one.destroy();
  two.destroy();
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  const closed = own.sent.filter(({ kind }) => kind === "closed") as { count: number }[];
  t.is(own.sent.filter(({ kind }) => kind === "took").length, 3);
  t.is(
    closed.reduce((sum, { count }) => sum + count, 0),
    3,
  );
});

test("questions and tasks of the supervisor are answered, a failure by name", async (t) => {
  const { link, own, tell } = linkOf();
  const payload = new Uint8Array(0);
  link.take({
    shed() {},
    serve: () => {},
    doTask: async ({ key }) => {
      if (key === "gone") throw modelNotFound("gone");
    },
    answer: async ({ name }) => {
      if (name !== "color") throw new Error("what?");
      return "green";
    },
  });
  tell({ kind: "question", id: 1, question: { name: "color", payload } });
  tell({ kind: "question", id: 2, question: { name: "taste", payload } });
  tell({ kind: "task", id: 3, task: { name: "load", key: "here", payload } });
  tell({ kind: "task", id: 4, task: { name: "load", key: "gone", payload } });
  await new Promise(setImmediate);
  t.deepEqual(own.sent, [
    { kind: "answered", id: 1, answer: "green" },
    { kind: "unanswered", id: 2 },
    { kind: "did", id: 3, error: undefined },
    { kind: "did", id: 4, error: toPortable(modelNotFound("gone")) },
  ] as FromWorker[]);
});
