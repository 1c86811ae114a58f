import { Gauge, type Registry } from "prom-client";
import type { RegionTable } from "./region-table.ts";

/** Registers the sizes of what callers have registered. */
export function registerMemoryMetrics(registry: Registry, table: RegionTable): void {
  gauge(registry, "regions", "Regions of shared memory that are registered", () => table.count);
  gauge(
    registry,
    "regions_limit",
    "Regions of shared memory that may be registered (--max-shared-memory-regions)",
    () => table.limits.regions,
  );
  gauge(
    registry,
    "region_bytes",
    "Bytes of the regions of shared memory that are registered",
    () => table.bytes,
  );
  gauge(
    registry,
    "copied_bytes",
    "Bytes of inputs that calls under way have copied from shared memory",
    () => table.copiedBytes,
  );
  gauge(
    registry,
    "limit_bytes",
    "Bytes of shared memory that may be registered, and that calls under way may have copied (--max-shared-memory)",
    () => table.limits.bytes,
  );
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name: `tensorwire_system_shared_memory_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}
