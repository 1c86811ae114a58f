import { Counter, Gauge, type Registry } from "prom-client";
import type { SupervisorStats } from "../cluster/supervisor.ts";

/** Registers what a supervisor knows of its workers. */
export function registerSupervisorMetrics(registry: Registry, stats: () => SupervisorStats): void {
  gauge(registry, "tensorwire_workers_serving", "Workers that answer calls", () => stats().serving);
  gauge(
    registry,
    "tensorwire_workers_wanted",
    "Workers that are to be there",
    () => stats().wanted,
  );
  counter(
    registry,
    "tensorwire_worker_restarts_total",
    "Workers that were started again after they ended",
    () => stats().restarts,
  );
  counter(
    registry,
    "tensorwire_worker_answers_missed_total",
    "Answers of workers, such as their metrics, that did not come in time",
    () => stats().missedAnswers,
  );
  gauge(
    registry,
    "tensorwire_waiting_connections",
    "Connections that wait for a worker; at most 1024",
    () => stats().waitingConnections,
  );
  counter(
    registry,
    "tensorwire_waiting_connections_refused_total",
    "Connections that were closed because too many waited for a worker",
    () => stats().refusedConnections,
  );
  new Gauge({
    name: "tensorwire_worker_open_connections",
    help: "Connections that are open, by worker",
    labelNames: ["worker"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { number, openConnections } of stats().workers) {
        this.set({ worker: `${number}` }, openConnections);
      }
    },
  });
  new Gauge({
    name: "tensorwire_worker_info",
    help: "1 for each worker, with the id of its process",
    labelNames: ["worker", "pid"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { number, pid } of stats().workers) {
        this.set({ worker: `${number}`, pid: `${pid}` }, 1);
      }
    },
  });
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}

function counter(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(value());
    },
  });
}
