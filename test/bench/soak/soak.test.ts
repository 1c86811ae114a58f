import test from "ava";
import { readSoakOptions } from "../../../bench/soak/options.ts";
import { soak } from "../../../bench/soak/soak.ts";
import { judge, type SoakResult, slopeOf, type TimedSample } from "../../../bench/soak/verdict.ts";

const mebibyte = 1024 * 1024;

test("a short soak ends with nothing left", async (t) => {
  t.timeout(120_000);
  const options = readSoakOptions(
    ["--minutes", "0.2", "--warm-up", "5", "--every", "2", "--connections", "4"].concat(
      process.env.TENSORWIRE_SOAK_SEED ? ["--seed", process.env.TENSORWIRE_SOAK_SEED] : [],
    ),
  );
  const checks = await soak(options!, (line) => t.log(line));
  for (const { name, holds, detail } of checks) t.true(holds, `${name}: ${detail}`);
});

const sample: TimedSample = {
  seconds: 0,
  openConnections: 0,
  openStreams: 0,
  timers: 0,
  fileDescriptors: 40,
  heapBytes: 20 * mebibyte,
  externalBytes: 60 * mebibyte,
  residentBytes: 400 * mebibyte,
  loopDelayP99Ms: 11,
  loopDelayMaxMs: 12,
  refusals: {},
};
const flat: readonly TimedSample[] = [0, 30, 60, 90].map((seconds) => ({ ...sample, seconds }));
const good: SoakResult = {
  base: sample,
  samples: flat,
  last: sample,
  wrongs: [],
  wrongCount: 0,
  complaints: "",
  exitCode: 0,
};

/** Names of the checks that a result fails. */
const failures = (result: Partial<SoakResult>): readonly string[] =>
  judge({ ...good, ...result })
    .filter(({ holds }) => !holds)
    .map(({ name }) => name);

test("nothing is wrong with a run that left nothing", (t) => {
  t.deepEqual(failures({}), []);
});

test("each thing that is left is found", (t) => {
  const last = (change: Partial<TimedSample>): Partial<SoakResult> => ({
    last: { ...sample, ...change },
  });
  t.deepEqual(failures({ wrongCount: 1 }), ["every call ended as it should"]);
  t.deepEqual(failures(last({ openStreams: 1 })), ["no stream is open without a call"]);
  t.deepEqual(failures({ samples: flat.with(1, { ...flat[1]!, openStreams: 2 }) }), [
    "no stream is open without a call",
  ]);
  t.deepEqual(failures(last({ openConnections: 1 })), ["no connection is open"]);
  t.deepEqual(failures(last({ timers: 1 })), ["no timer is left"]);
  t.deepEqual(failures(last({ fileDescriptors: 41 })), ["file descriptors are back"]);
  t.deepEqual(failures({ complaints: "a warning" }), [
    "the server complained of nothing, and ended when asked",
  ]);
  t.deepEqual(failures({ exitCode: null }), [
    "the server complained of nothing, and ended when asked",
  ]);
});

test("memory that grows is found, and memory that goes up and down is not", (t) => {
  const heaps = (...mebibytes: readonly number[]): Partial<SoakResult> => ({
    samples: flat.map((one, index) => ({ ...one, heapBytes: mebibytes[index]! * mebibyte })),
  });
  t.deepEqual(failures(heaps(20, 22, 24, 26)), ["the heap is flat"]);
  t.deepEqual(failures(heaps(20, 24, 20, 21)), []);
  t.deepEqual(failures(heaps(26, 24, 22, 20)), []);
  const outside = (share: number, seconds: number): Partial<SoakResult> => ({
    samples: flat.map((one, index) => ({
      ...one,
      seconds: index * seconds,
      externalBytes: (60 + share * index) * mebibyte,
    })),
  });
  const grows = ["memory outside the heap is flat"];
  t.deepEqual(failures(outside(25, 30)), grows);
  t.deepEqual(failures(outside(20, 30)), [], "the buffers that are kept may still fill up");
  t.deepEqual(failures(outside(20, 200)), grows, "they are full after five minutes");
});

test("the slope is that of least squares", (t) => {
  t.is(
    slopeOf([
      [0, 1],
      [1, 3],
      [2, 5],
    ]),
    2,
  );
  // By hand: the means are 1.5 and 2.75, the sums 3.5 and 5.
  t.is(
    slopeOf([
      [0, 2],
      [1, 2],
      [2, 3],
      [3, 4],
    ]),
    0.7,
  );
});

test("options that make no sense are refused by name", (t) => {
  t.throws(() => readSoakOptions(["--minutes", "ten"]), { message: /^--minutes is "ten"; give/ });
  t.throws(() => readSoakOptions(["--calls", "1.5"]), { message: /whole number from 1 to 100/ });
  t.throws(() => readSoakOptions(["--minutes", "1"]), { message: /2 samples; a line needs/ });
  t.is(readSoakOptions(["--help"]), undefined);
});
