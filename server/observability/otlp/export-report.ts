import type { Registry } from "prom-client";
import { BoundCounter } from "../bound-metrics.ts";
import type { Log } from "../log.ts";

/** Failures are logged this seldom, in ms. */
const failureLogMs = 300_000;

/** What is exported. */
export type Signal = "metrics" | "traces";

/** How an export ended; `skipped`: the one before was still under way. */
export type ExportOutcome = "sent" | "failed" | "skipped";

/** The counter that all signals of a registry share. */
export function exportCounter(registry: Registry): BoundCounter {
  const name = "tensorwire_otlp_exports_total";
  const known = registry.getSingleMetric(name) as unknown as BoundCounter | undefined;
  return (
    known ??
    new BoundCounter({
      name,
      help: "Exports to a collector of OpenTelemetry, by signal and outcome: sent, failed, or skipped since the one before was under way",
      registry,
    })
  );
}

/** Counts exports, and tells the log of failures once in a while. */
export class ExportReport {
  readonly #signal: Signal;
  readonly #exports: BoundCounter;
  readonly #log: Log;
  #loggedAt = Number.NEGATIVE_INFINITY;
  /** Exports that have failed since one was sent. */
  #failures = 0;

  constructor(signal: Signal, registry: Registry, log: Log) {
    this.#signal = signal;
    this.#exports = exportCounter(registry);
    this.#log = log;
    for (const outcome of ["sent", "failed", "skipped"]) this.#exports.bind({ signal, outcome });
  }

  sent(): void {
    this.#count("sent");
    if (this.#failures > 0) {
      this.#log.info(
        { signal: this.#signal, failures: this.#failures },
        "the collector takes exports again",
      );
      this.#loggedAt = Number.NEGATIVE_INFINITY;
    }
    this.#failures = 0;
  }

  skipped(): void {
    this.#count("skipped");
  }

  failed(error: Error): void {
    this.#count("failed");
    this.#failures++;
    const now = performance.now();
    if (now - this.#loggedAt < failureLogMs) return;
    this.#loggedAt = now;
    this.#log.warn(
      { signal: this.#signal, why: error.message, failures: this.#failures },
      "the collector does not take exports; calls are served on",
    );
  }

  #count(outcome: ExportOutcome): void {
    this.#exports.bind({ signal: this.#signal, outcome }).inc();
  }
}
