import type { SpanSampling } from "../queue-proxy/span-sampling.ts";

/**
 * Which calls are traced, by Knative's rate and the variables of OpenTelemetry, which win. As with the
 * original a rate of 1 traces all calls and 0 none, whatever callers decided.
 *
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export function spanSampling(
  samplingRate: number,
  env: Readonly<Record<string, string | undefined>>,
): SpanSampling | "never" {
  const { OTEL_TRACES_SAMPLER: sampler = "", OTEL_TRACES_SAMPLER_ARG: argument = "" } = env;
  const given = argument === "" ? Number.NaN : Number(argument);
  const isShare = given >= 0 && given <= 1;
  switch (sampler) {
    case "always_on":
      return { rate: 1, of: "rate" };
    case "always_off":
      return "never";
    case "traceidratio":
      return { rate: isShare ? given : 1, of: "rate" };
    case "parentbased_always_on":
      return { rate: 1, of: "caller" };
    case "parentbased_always_off":
      return { rate: 0, of: "caller" };
    case "parentbased_traceidratio":
      return { rate: isShare ? given : 1, of: "caller" };
  }
  const rate = isShare ? given : samplingRate;
  if (rate === 0) return "never";
  return { rate, of: rate === 1 ? "rate" : "caller" };
}
