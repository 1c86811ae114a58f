import type { ForwardChannel } from "../wire/client/forward-channel.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import type { BusyPoll } from "./busy-poll.ts";
import type { CallList } from "./call-list.ts";
import type { CallRules } from "./call-rules.ts";
import type { CallTracer } from "./call-tracer.ts";
import type { Drainer } from "./drainer.ts";
import type { HttpMetrics } from "./http-metrics.ts";
import type { AdmissionQueue } from "./queue/admission-queue.ts";
import type { Flow } from "./queue/flow.ts";
import type { QueueMetrics } from "./queue-metrics.ts";
import type { RequestLog } from "./request-log/request-log.ts";
import type { RequestStatistics } from "./request-statistics.ts";

/** Times that bound a call, in ms; infinite where there is none. */
export interface CallTimes {
  /** For the whole call, with its time in the queue. */
  readonly totalMs: number;
  /** Until the answer begins. */
  readonly responseStartMs: number;
  /** Without a byte of the answer, once it has begun. */
  readonly idleMs: number;
  /**
   * Which calls of gRPC `totalMs` ends. `all`: as Knative does. `still`: only those on which nothing has
   * moved for as long, so that streams live on while they carry data.
   */
  readonly grpcStreams: "all" | "still";
}

/** A call as lists show it. */
export interface ListedCall {
  listBefore: ListedCall | undefined;
  listAfter: ListedCall | undefined;
  readonly head: RequestHead;
  readonly flow: Flow;
  readonly waits: boolean;
  /** By performance.now(). */
  readonly arrivedAt: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
}

/** What all calls of a proxy share. */
export interface ProxyHost {
  readonly times: CallTimes;
  /** Another one takes its place when the file of rules changes. */
  rules: CallRules;
  readonly queue: AdmissionQueue;
  readonly statistics: RequestStatistics;
  readonly metrics: QueueMetrics;
  /** There if Knative has request metrics on. */
  readonly httpMetrics: HttpMetrics | undefined;
  /** There if Knative has tracing on. */
  readonly tracer: CallTracer | undefined;
  readonly drainer: Drainer;
  readonly busyPoll: BusyPoll | undefined;
  /** The user's container, over either version of HTTP. */
  readonly http2: ForwardChannel;
  readonly http1: ForwardChannel;
  readonly requestLog: RequestLog | undefined;
  /** Calls that are under way or wait, the oldest first. */
  readonly calls: CallList<ListedCall>;
  /** All of them, and probes that are passed on. */
  openCalls: number;
  /** Told when a call ends and no other is under way. */
  onIdle: () => void;
}
