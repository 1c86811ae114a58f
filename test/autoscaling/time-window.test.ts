import test from "ava";
import fc from "fast-check";
import { TimeWindow } from "../../server/autoscaling/time-window.ts";

test("the average is over the seconds since the first value, until the window is full", (t) => {
  const window = new TimeWindow(5);
  t.true(window.isEmpty(0));
  t.is(window.average(0), 0);
  for (const [at, value, average] of [
    [10, 4, 4],
    [11, 2, 3],
    [14, 9, 3],
    [15, 0, 2.2],
  ] as const) {
    window.record(at * 1000 + 300, value);
    t.is(window.average(at * 1000 + 900), average);
  }
  // Of 11 to 15 second 11 has left at 16, and 12 and 13 at 18.
  t.is(window.average(16_000), 2.25);
  t.is(window.average(18_000), 4.5);
  t.true(window.isEmpty(20_000));
  t.is(window.average(20_000), 0);
});

test("values of one second add up, and those from before the window are left out", (t) => {
  const window = new TimeWindow(3);
  window.record(7_100, 1);
  window.record(7_900, 2);
  window.record(4_000, 100);
  t.is(window.average(7_999), 3);
  window.record(6_000, 5);
  t.is(window.average(7_999), 4);
});

test("weighted: each second back counts a fifth less, or less for short windows", (t) => {
  const window = new TimeWindow(60, "weighted-exponential");
  window.record(1_000, 10);
  t.is(window.average(1_000), 2);
  t.is(window.average(2_000).toFixed(9), (1.6).toFixed(9));
  window.record(2_000, 10);
  t.is(window.average(2_000).toFixed(9), (3.6).toFixed(9));
  const short = new TimeWindow(6, "weighted-exponential");
  short.record(0, 1);
  t.is(short.average(0).toFixed(9), (1 - 0.0001 ** (1 / 6)).toFixed(9));
});

test("it agrees with the formula over a list of all values", (t) => {
  const step = fc.record({ after: fc.integer({ min: 0, max: 9 }), value: fc.nat(1000) });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.array(step, { minLength: 1 }),
      (length, steps) => {
        const window = new TimeWindow(length);
        let values: { at: number; value: number }[] = [];
        let now = 1_700_000_000;
        for (const { after, value } of steps) {
          now += after;
          // Silence for a whole window makes the next value the first one.
          if (after >= length) values = [];
          values.push({ at: now, value });
          window.record(now * 1000, value);
        }
        for (let ask = now; ask <= now + length; ask++) {
          const inside = values.filter(({ at }) => at > ask - length);
          const seconds = Math.min(now - values[0]!.at + 1, length - (ask - now));
          const sum = inside.reduce((total, { value }) => total + value, 0);
          const expected = seconds <= 0 ? 0 : sum / seconds;
          t.true(Math.abs(window.average(ask * 1000) - expected) < 1e-5);
        }
      },
    ),
  );
});
