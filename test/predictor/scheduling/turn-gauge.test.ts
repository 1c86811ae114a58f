import test from "ava";
import { TurnGauge } from "../../../server/predictor/scheduling/turn-gauge.ts";

function start() {
  const ends: (() => void)[] = [];
  const gauge = new TurnGauge((action) => ends.push(action));
  /** Calls of one turn: what was said of each, and whether the turn was looked at. */
  const turn = (calls: number): { readonly gathered: boolean[]; readonly seen: boolean } => {
    const gathered = Array.from({ length: calls }, () => gauge.called());
    const seen = ends.length > 0;
    for (const end of ends.splice(0)) end();
    return { gathered, seen };
  };
  return turn;
}

test("calls are gathered once several come in a turn, until they come alone for a while", (t) => {
  const turn = start();
  t.deepEqual(turn(3).gathered, [false, true, true]);
  t.deepEqual(turn(2).gathered, [true, true]);
  for (let quiet = 0; quiet < 31; quiet++) t.deepEqual(turn(1).gathered, [true]);
  turn(2);
  for (let quiet = 0; quiet < 32; quiet++) t.deepEqual(turn(1).gathered, [true]);
  t.deepEqual(turn(1).gathered, [false]);
});

test("while calls come alone the turn of one in eight is looked at", (t) => {
  const turn = start();
  const seen = Array.from({ length: 24 }, () => turn(1).seen);
  t.is(seen.filter(Boolean).length, 3);
  // So a burst is seen within eight calls.
  t.true(turn(9).gathered.at(-1));
});
