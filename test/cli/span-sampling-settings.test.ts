import test from "ava";
import { spanSampling } from "../../server/cli/span-sampling-settings.ts";

const cases: readonly (readonly [
  rate: number,
  sampler: string,
  argument: string,
  expected: ReturnType<typeof spanSampling>,
])[] = [
  [0, "", "", "never"],
  [0.1, "", "", { rate: 0.1, of: "caller" }],
  [1, "", "", { rate: 1, of: "rate" }],
  [0.1, "", "0.5", { rate: 0.5, of: "caller" }],
  [0.1, "", "1", { rate: 1, of: "rate" }],
  [0.1, "", "0", "never"],
  [0.1, "", "much", { rate: 0.1, of: "caller" }],
  [0.1, "", "2", { rate: 0.1, of: "caller" }],
  [0, "always_on", "", { rate: 1, of: "rate" }],
  [1, "always_off", "", "never"],
  [1, "traceidratio", "0.2", { rate: 0.2, of: "rate" }],
  [0, "traceidratio", "", { rate: 1, of: "rate" }],
  [0, "parentbased_always_on", "", { rate: 1, of: "caller" }],
  [1, "parentbased_always_off", "", { rate: 0, of: "caller" }],
  [1, "parentbased_traceidratio", "0.2", { rate: 0.2, of: "caller" }],
];

for (const [rate, sampler, argument, expected] of cases) {
  test(`a rate of ${rate} with OTEL_TRACES_SAMPLER "${sampler}" and ARG "${argument}"`, (t) => {
    const env = { OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: argument };
    t.deepEqual(spanSampling(rate, env), expected);
  });
}
