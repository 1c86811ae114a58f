import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { CallContext } from "../call-context.ts";
import type { InferenceBackend } from "../inference-backend.ts";
import type { RouteMatch } from "./route.ts";

/** What REST answers from. */
export interface RestOptions {
  readonly backend: InferenceBackend;
  /** State of the program for the probes. */
  readonly probes: { readonly isStarted: () => boolean; readonly isReady: () => boolean };
  /** Metrics in Prometheus' text format. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  readonly maxBodyBytes: number;
  /** Longest time of an answer that comes in pieces, in ms. */
  readonly maxTimeoutMs: number;
  /** Told of failures that are ours. */
  readonly onInternalError: (error: TensorwireError, route: string) => void;
}

/** A request whose route is known. */
export interface RestCall {
  readonly match: RouteMatch;
  readonly context: CallContext;
  readonly request: UniversalServerRequest;
  readonly options: RestOptions;
}

/** Answers the calls of a route. */
export type Answer = (call: RestCall) => Promise<UniversalServerResponse>;
