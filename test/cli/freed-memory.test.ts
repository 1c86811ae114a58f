import test from "ava";
import { returnFreedMemory } from "../../server/cli/freed-memory.ts";

(process.platform === "linux" ? test : test.skip)(
  "the program starts again with an allocator that gives memory back, once",
  (t) => {
    const started: unknown[] = [];
    const restart = (env: unknown): void => void started.push(env);
    returnFreedMemory({ env: { A: "1" }, restart });
    t.deepEqual(started, [{ A: "1", MALLOC_MMAP_THRESHOLD_: "1048576" }]);
    returnFreedMemory({ env: { MALLOC_MMAP_THRESHOLD_: "65536" }, restart });
    t.is(started.length, 1);
    t.notThrows(() => returnFreedMemory({ env: {} }));
  },
);
