import type { Registry } from "prom-client";
import type { ProcessEvents } from "../lifecycle/process-events.ts";
import type { Log } from "../observability/log.ts";
import type { TraceControl } from "../observability/trace-control.ts";
import type { Predictor } from "../predictor/predictor.ts";
import type { DrainGate } from "../rpc/drain-gate.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import type { WireServer } from "../wire/wire-server.ts";
import type { Program } from "./program.ts";
import type { ServeHandlers } from "./serve-handler.ts";
import { listenAll, urlsOf } from "./serve-listen.ts";
import type { ServeValues } from "./serve-values.ts";
import { serveScreen } from "./start-screen.ts";

/** What a server is made of when its role begins. */
export interface RoleParts {
  readonly predictor: Predictor;
  readonly registry: Registry;
  readonly gate: DrainGate;
  readonly log: Log;
  readonly traces: TraceControl;
}

/** What differs between a server that is alone and one of several workers. */
export interface ServeRole {
  /** Added to every entry of the log. */
  readonly logFields: object;
  /** Put behind the names of files of traces. */
  readonly traceSuffix: string;
  /** Where signals come from. */
  readonly events: ProcessEvents;
  /** Called before anything else. */
  begin(parts: RoleParts): void;
  /** What callers are answered from. */
  backend(own: InferenceBackend): InferenceBackend;
  /** Metrics in Prometheus' text format. */
  metrics(): Promise<string>;
  /** Takes connections; the servers are closed by whoever asked for them. */
  listen(
    values: ServeValues,
    handlers: ServeHandlers,
  ): Promise<readonly [WireServer, ...WireServer[]]>;
  /** The models are loaded; resolves when the server may say that it is ready. */
  loaded(): Promise<void>;
  /** The server is ready. */
  ready(): void;
  /** The server takes no connections any more. */
  leaving(): void;
}

/**
 * The role of a server that is the only one.
 *
 * @param begun - when the program began, on the monotonic clock in ms
 */
export function aloneRole(values: ServeValues, program: Program, begun: number): ServeRole {
  let parts: RoleParts;
  let wires: readonly WireServer[] = [];
  return {
    logFields: {},
    traceSuffix: "",
    events: program.events,
    begin(given) {
      parts = given;
    },
    backend: (own) => own,
    metrics: () => parts.registry.metrics(),
    async listen(_, handlers) {
      const listening = await listenAll(values, handlers, parts.log);
      wires = listening;
      return listening;
    },
    loaded: async () => {},
    ready() {
      const addresses = wires.flatMap(({ tcpAddress }) => tcpAddress ?? []);
      const startMs = Math.round(performance.now() - begun);
      const urls = urlsOf(values, addresses);
      parts.log.info({ address: urls[0], startMs }, "ready");
      if (!values.banner) return;
      const { color } = program.stdout;
      program.stdout.write(
        serveScreen(values, { urls, startMs, rows: parts.predictor.index(), color }),
      );
    },
    leaving: () => {},
  };
}
