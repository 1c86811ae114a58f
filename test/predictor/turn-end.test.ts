import { once } from "node:events";
import test from "ava";
import { afterMs } from "../../server/predictor/turn-end.ts";

test("a time that no timer takes is long, not short", async (t) => {
  const fired: string[] = [];
  const cancel = afterMs(1e12, () => fired.push("in 31 years"));
  const passed = new EventTarget();
  afterMs(5, () => {
    fired.push("in 5 ms");
    passed.dispatchEvent(new Event("fired"));
  });
  await once(passed, "fired");
  cancel();
  t.deepEqual(fired, ["in 5 ms"]);
});
