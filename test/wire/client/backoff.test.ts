import test from "ava";
import fc from "fast-check";
import { Backoff, defaultBackoff } from "../../../server/wire/client/backoff.ts";

test("times grow by 1.6 from 1 s to 120 s, and begin anew after a good connection", (t) => {
  const backoff = new Backoff(defaultBackoff, () => 0.5);
  const times = Array.from({ length: 12 }, () => Math.round(backoff.next()));
  t.deepEqual(
    times,
    [1000, 1600, 2560, 4096, 6554, 10486, 16777, 26844, 42950, 68719, 109951, 120000],
  );
  t.is(backoff.next(), 120_000);
  backoff.reset();
  t.is(backoff.next(), 1000);
});

test("jitter moves each time by a fifth at most, and does not add up", (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1 }),
      (chances) => {
        let turn = 0;
        const backoff = new Backoff(defaultBackoff, () => chances[turn]!);
        for (; turn < chances.length; turn++) {
          const middle = Math.min(1000 * 1.6 ** turn, 120_000);
          const ms = backoff.next();
          t.true(ms >= middle * 0.8 - 1e-6 && ms <= middle * 1.2 + 1e-6);
        }
      },
    ),
  );
});
