import type { ProxyEnvironment, RunningProxy } from "../../queue-proxy/start-queue-proxy.ts";
import type { UserServer } from "../../queue-proxy/start-user-server.ts";

/** What an exchange may use. */
export interface Sides {
  readonly proxy: RunningProxy;
  readonly user: UserServer;
}

/** Something that is done to a proxy, and what came of it, to be compared. */
export interface Exchange {
  readonly name: string;
  /** Gives what both must do alike. */
  run(sides: Sides): Promise<unknown>;
  /** Why ours does something else on purpose; then `ours` is what it does. */
  readonly differs?: { readonly why: string; readonly ours: unknown };
}

/** Exchanges with proxies that have the same environment. */
export interface ExchangeGroup {
  readonly name: string;
  readonly env: ProxyEnvironment;
  /** More of ours, where an option is on that the original does not have. */
  readonly flags?: readonly string[];
  readonly exchanges: readonly Exchange[];
}
