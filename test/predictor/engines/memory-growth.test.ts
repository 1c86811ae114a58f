import test from "ava";
import {
  measureGrowth,
  type OpenMeasurements,
} from "../../../server/predictor/engines/memory-growth.ts";

const none = (): OpenMeasurements => new Int32Array(new SharedArrayBuffer(4));

test("what the process grows by is measured, and never less than nothing", async (t) => {
  const open = none();
  let resident = 1_000;
  const grown = await measureGrowth(
    () => {
      resident += 300;
      return "done";
    },
    open,
    () => resident,
  );
  t.deepEqual(grown, { value: "done", bytes: 300 });
  const shrunk = await measureGrowth(
    async () => {
      resident -= 500;
    },
    open,
    () => resident,
  );
  t.is(shrunk.bytes, 0);
  t.is(open[0], 0);
});

test("measurements at the same time have their shares, and one that fails is over", async (t) => {
  const open = none();
  let resident = 0;
  const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const measured = gates.map((gate) =>
    measureGrowth(
      () => gate.promise,
      open,
      () => resident,
    ),
  );
  t.is(open[0], 3);
  resident = 600;
  gates[0]!.resolve();
  // Three at its begin is one at that of the first, and three at its end.
  t.is((await measured[0]!).bytes, 300);
  gates[1]!.reject(new Error("no"));
  await t.throwsAsync(measured[1]!, { message: "no" });
  gates[2]!.resolve();
  t.is((await measured[2]!).bytes, 300);
  t.is(open[0], 0);
});
