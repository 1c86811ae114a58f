import { Gauge, type Registry } from "prom-client";
import type { RegionTable } from "./region-table.ts";

/** Registers the sizes of what callers have registered. */
export function registerMemoryMetrics(registry: Registry, table: RegionTable): void {
  // Workers know the same regions.
  gauge(registry, "max", "regions", "Regions that are registered", () => table.count);
  gauge(
    registry,
    "max",
    "regions_limit",
    "Regions that may be registered (--max-shared-memory-regions)",
    () => table.limits.regions,
  );
  gauge(
    registry,
    "max",
    "region_bytes",
    "Bytes of the regions that are registered",
    () => table.bytes,
  );
  gauge(
    registry,
    "sum",
    "copied_bytes",
    "Bytes of inputs that calls under way have copied from shared memory",
    () => table.copiedBytes,
  );
  gauge(
    registry,
    "max",
    "limit_bytes",
    "Bytes that may be registered, and that calls under way of each worker may have copied (--max-shared-memory)",
    () => table.limits.bytes,
  );
}

/** @param aggregator - how the values of several workers are one */
function gauge(
  registry: Registry,
  aggregator: "max" | "sum",
  name: string,
  help: string,
  value: () => number,
): void {
  new Gauge({
    name: `tensorwire_system_shared_memory_${name}`,
    help,
    aggregator,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}
