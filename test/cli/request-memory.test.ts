import test from "ava";
import { requestMemory, usableMemory } from "../../server/cli/request-memory.ts";

const values = { "max-request-memory": undefined, "max-message-size": 100, workers: 1 };

test("the memory is the cgroup's where that is less", (t) => {
  t.is(usableMemory(1000, 0), 1000);
  t.is(usableMemory(1000, 400), 400);
  t.is(usableMemory(1000, 2 ** 63), 1000);
});

test("requests have what is set, or half of the memory, shared among the workers", (t) => {
  t.is(requestMemory({ ...values, "max-request-memory": 777 }, 10_000).limitBytes, 777);
  t.is(requestMemory(values, 10_000).limitBytes, 5_000);
  t.is(requestMemory({ ...values, workers: 4 }, 10_000).limitBytes, 1_250);
  t.is(requestMemory(values, 150).limitBytes, 100, "one message is taken");
});
