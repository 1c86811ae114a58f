import { TensorwireError } from "./tensorwire-error.ts";

/** A described load or a trace that cannot be read. */
export function loadInvalid(given: string, expected: string): TensorwireError {
  return new TensorwireError("SETTING_INVALID", `load: got ${given}, expected ${expected}`, {});
}

/** Metadata of a trigger that cannot be read. */
export function triggerInvalid(key: string, given: string, expected: string): TensorwireError {
  return new TensorwireError(
    "TRIGGER_INVALID",
    `metadata ${key} of the trigger: got ${JSON.stringify(given)}, expected ${expected} (docs/autoscaling.md)`,
    { key },
  );
}

/** A metric that its source does not give. */
export function metricUnavailable(metric: string, why: string, cause: unknown): TensorwireError {
  return new TensorwireError(
    "METRIC_UNAVAILABLE",
    `metric ${metric} cannot be had: ${why}`,
    { metric, retryAfterMs: "5000" },
    { cause },
  );
}

/** A metric that the trigger does not have. */
export function metricUnknown(given: string, expected: string): TensorwireError {
  return new TensorwireError(
    "METRIC_UNKNOWN",
    `got metric "${given}", expected "${expected}", which GetMetricSpec gives`,
    { metric: given },
  );
}

/** More triggers, or streams about them, than are followed at once. */
export function scalerFull(what: string, limit: number): TensorwireError {
  return new TensorwireError(
    "SCALER_FULL",
    `${limit} ${what} are followed, which is the limit; run another scaler`,
    { limit: `${limit}` },
  );
}
