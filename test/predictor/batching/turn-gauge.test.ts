import test from "ava";
import { TurnGauge } from "../../../server/predictor/batching/turn-gauge.ts";

test("calls are gathered once several come in a turn, until they come alone for a while", (t) => {
  const ends: (() => void)[] = [];
  const gauge = new TurnGauge((action) => ends.push(action));
  const turn = (calls: number): boolean[] => {
    const gathered = Array.from({ length: calls }, () => gauge.called());
    for (const end of ends.splice(0)) end();
    return gathered;
  };
  t.deepEqual(turn(1), [false]);
  t.deepEqual(turn(3), [false, true, true]);
  t.deepEqual(turn(2), [true, true]);
  for (let quiet = 0; quiet < 31; quiet++) t.deepEqual(turn(1), [true]);
  turn(2);
  for (let quiet = 0; quiet < 32; quiet++) t.deepEqual(turn(1), [true]);
  t.deepEqual(turn(1), [false]);
});
