import { Gauge, type Registry } from "prom-client";
import { type AccessRefusal, accessRefusals } from "../errors/access-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import { BoundCounter, type CounterCell } from "../observability/bound-metrics.ts";

/** Counts refusals and reloads. */
export class AccessMetrics {
  readonly #refusals: ReadonlyMap<AccessRefusal, CounterCell>;
  readonly #reloads: Readonly<Record<"taken" | "failed", CounterCell>>;

  /** @param cached - credentials that are kept at the moment */
  constructor(registry: Registry, cached: () => number) {
    const refusals = new BoundCounter({
      name: "tensorwire_access_refusals_total",
      help: "Calls refused for want of credentials or of a permission, by reason (docs/access.md)",
      registry,
    });
    this.#refusals = new Map(accessRefusals.map((reason) => [reason, refusals.bind({ reason })]));
    const reloads = new BoundCounter({
      name: "tensorwire_access_reloads_total",
      help: "Changed access files, by whether they were taken",
      registry,
    });
    this.#reloads = {
      taken: reloads.bind({ outcome: "taken" }),
      failed: reloads.bind({ outcome: "failed" }),
    };
    new Gauge({
      name: "tensorwire_access_cached_credentials",
      help: "Credentials whose check is remembered; at most 2048",
      registers: [registry],
      collect() {
        this.set(cached());
      },
    });
  }

  refused({ metadata: { refusal } }: TensorwireError): void {
    this.#refusals.get(refusal as AccessRefusal)?.inc();
  }

  reloaded(outcome: "taken" | "failed"): void {
    this.#reloads[outcome].inc();
  }
}
