import { TensorwireError } from "./tensorwire-error.ts";

/** As many generations wait for a slot as may. */
export function generationQueueFull(model: string, limit: number): TensorwireError {
  return new TensorwireError(
    "QUEUE_FULL",
    `model "${model}": all slots are taken and ${limit} generations wait, which is the limit; try again later`,
    { model, maxWaiting: `${limit}`, retryAfterMs: "1000" },
  );
}
