import test from "ava";
import type { Task } from "../../server/cluster/messages.ts";
import { type TaskDoer, TaskRelay } from "../../server/cluster/task-relay.ts";
import { toPortable } from "../../server/errors/portable-error.ts";

class Doer implements TaskDoer {
  isWaitedFor = true;
  readonly given: { id: number; task: Task }[] = [];

  doTask(id: number, task: Task): void {
    this.given.push({ id, task });
  }
}

const task = (name: string, key = "iris"): Task => ({ name, key, payload: new Uint8Array(0) });
const names = ({ given }: Doer): string[] => given.map(({ task: { name } }) => name);

function relayOf(...doers: Doer[]): TaskRelay {
  const relay = new TaskRelay();
  for (const doer of doers) relay.add(doer);
  return relay;
}

test("tasks of one key wait for each other, those of others do not", async (t) => {
  const doer = new Doer();
  const relay = relayOf(doer);
  const load = relay.run(task("load"));
  const unload = relay.run(task("unload"));
  const other = relay.run(task("load", "digits"));
  t.deepEqual(names(doer), ["load", "load"]);
  relay.did(doer, doer.given[0]!.id, undefined);
  await load;
  await new Promise(setImmediate);
  t.deepEqual(names(doer), ["load", "load", "unload"]);
  for (const { id } of doer.given) relay.did(doer, id, undefined);
  await Promise.all([unload, other]);
  t.deepEqual(relay.done.map(({ name, key }) => `${name} ${key}`).sort(), [
    "load digits",
    "unload iris",
  ]);
});

test("the first error is the answer, when all are done; a task that failed is not kept", async (t) => {
  const [one, two] = [new Doer(), new Doer()];
  const relay = relayOf(one, two);
  const run = relay.run(task("load"));
  relay.did(two, two.given[0]!.id, toPortable(new Error("disk")));
  relay.did(one, one.given[0]!.id, undefined);
  t.is((await run)?.cause, "disk");
  t.deepEqual(relay.done, []);
});

test("a task that undoes others leaves nothing for a worker that comes later", async (t) => {
  const doer = new Doer();
  const relay = relayOf(doer);
  const tasks: Task[] = [
    task("register", "a"),
    task("register", "b"),
    { ...task("unregister", "a"), leavesNothing: true },
    { ...task("unregister", "c"), leavesNothing: true },
  ];
  for (const [index, each] of tasks.entries()) {
    const run = relay.run(each);
    relay.did(doer, doer.given[index]!.id, undefined);
    await run;
  }
  t.deepEqual(
    relay.done.map(({ name, key }) => `${name} ${key}`),
    ["register b"],
  );
});

test("nobody waits for a worker that went, or that is not up yet", async (t) => {
  const [one, gone, late] = [new Doer(), new Doer(), new Doer()];
  late.isWaitedFor = false;
  const relay = relayOf(one, gone, late);
  const run = relay.run(task("load"));
  relay.remove(gone);
  relay.did(one, one.given[0]!.id, undefined);
  t.is(await run, undefined);
  t.deepEqual(names(late), ["load"]);
  t.is(relay.done.length, 1);
});
