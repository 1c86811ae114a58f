import test from "ava";
import { Turns } from "../../../server/predictor/residency/turns.ts";

test("work is done one after the other in the order in which it came, whatever became of the one before", async (t) => {
  const turns = new Turns();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turns.run(async () => {
    order.push("first begins");
    await gate.promise;
    order.push("first ends");
    throw new Error("no");
  });
  const second = turns.run(async () => {
    order.push("second");
    return 2;
  });
  const third = turns.run(async () => order.push("third"));
  t.is(turns.waiting, 3);
  gate.resolve();
  await t.throwsAsync(first, { message: "no" });
  t.is(await second, 2);
  await third;
  t.deepEqual(order, ["first begins", "first ends", "second", "third"]);
  t.is(turns.waiting, 0);
});
