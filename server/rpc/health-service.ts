import type { ConnectRouter } from "@connectrpc/connect";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { HealthRegistry } from "./health-registry.ts";

/** Watches that the server keeps at once. */
const maxWatchers = 4096;

/**
 * Serves grpc.health.v1.Health (https://github.com/grpc/grpc/blob/master/doc/health-checking.md) from
 * a registry.
 */
export function registerHealthService(router: ConnectRouter, registry: HealthRegistry): void {
  router.service(Health, {
    check({ service }) {
      const status = registry.get(service);
      if (status === undefined) {
        throw new TensorwireError(
          "SERVICE_UNKNOWN",
          `health of "${service}" is not known; List names the services and models that are, "" is the server`,
          { service },
        );
      }
      return { status };
    },
    list() {
      return {
        statuses: Object.fromEntries(
          [...registry.entries()].map(([name, status]) => [name, { status }]),
        ),
      };
    },
    async *watch({ service }, { signal }) {
      if (registry.watcherCount >= maxWatchers) {
        throw new TensorwireError(
          "WATCH_LIMIT",
          `${maxWatchers} health watches are under way, which is the limit; use Check`,
          {
            maxWatchers: `${maxWatchers}`,
          },
        );
      }
      // Only the newest status counts: a slow watcher skips what it missed.
      let latest = registry.get(service) ?? Status.SERVICE_UNKNOWN;
      let sent: Status | undefined;
      let wake = (): void => {};
      const stop = registry.watch(service, (status) => {
        latest = status;
        wake();
      });
      const onAbort = (): void => wake();
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        while (!signal.aborted) {
          if (latest !== sent) {
            sent = latest;
            yield { status: latest };
          } else if (registry.closed) return;
          else await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        stop();
        signal.removeEventListener("abort", onAbort);
      }
    },
  });
}
