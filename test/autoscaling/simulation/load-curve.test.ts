import test from "ava";
import { parseLoad, parseTrace } from "../../../server/autoscaling/simulation/load-curve.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";

test("phases follow each other: a rate, a ramp, a wave", (t) => {
  const load = parseLoad("10:1m, 0..100:50s, wave 20..40:1h,5.5:10s");
  t.is(load.seconds, 60 + 50 + 3600 + 10);
  const rates = [0, 59, 60, 85, 109, 110, 110 + 1800, 110 + 900, 3715, 4000];
  t.deepEqual(
    rates.map((second) => Number(load.rateAt(second).toFixed(6))),
    [10, 10, 0, 50, 98, 20, 40, 30, 5.5, 0],
  );
});

test("a trace holds each rate until the next, whatever its first second", (t) => {
  const load = parseTrace("second,rps\n100,5\n110,7.5\r\n130,0\n");
  t.is(load.seconds, 30);
  t.deepEqual(
    [0, 9, 10, 29, 3].map((second) => load.rateAt(second)),
    [5, 5, 7.5, 7.5, 5],
  );
});

for (const [given, says] of [
  ["", /got , expected a phase/],
  ["10", /got 10, expected a phase/],
  ["10:5", /got 10:5/],
  ["10:1m,-5:1m", /got -5:1m/],
  ["1:32d", /at most 2678400 s, 31 days/],
  ["10000:1d", /864000000 requests, expected at most 20000000/],
] as const) {
  test(`a load of ${JSON.stringify(given)} is refused with what is expected`, (t) => {
    t.throws(() => parseLoad(given), { instanceOf: TensorwireError, message: says });
  });
}

for (const [given, says] of [
  ["", /got 0 lines, expected two or more/],
  ["0,1\n", /got 1 lines/],
  ["0,1\n0,2\n", /line 2 "0,2"/],
  ["0,1\n5,-2\n", /line 2 "5,-2"/],
  ["0,1\nfive,2\n", /line 2 "five,2"/],
  ["0,x\n1,2\n", /line 1 "0,x"/],
] as const) {
  test(`a trace of ${JSON.stringify(given)} is refused with its line`, (t) => {
    t.throws(() => parseTrace(given), { instanceOf: TensorwireError, message: says });
  });
}
