import { create, toBinary } from "@bufbuild/protobuf";
import { StatSchema } from "../../gen/metrics/stat_pb.ts";
import type { RequestStatistics } from "./request-statistics.ts";

/** Time between two reports, in ms. */
export const reportPeriodMs = 1_000;

/** What the autoscaler's collector gets: the last second as a `metrics.Stat`. */
export class StatReporter {
  readonly #pod: string;
  readonly #statistics: RequestStatistics;
  readonly #begun: number;
  #message: Uint8Array;

  constructor(pod: string, statistics: RequestStatistics, now: number) {
    this.#pod = pod;
    this.#statistics = statistics;
    this.#begun = now;
    this.#message = toBinary(StatSchema, create(StatSchema, { podName: pod }));
  }

  /** To be called once a {@link reportPeriodMs}. */
  tick(now: number): void {
    const report = this.#statistics.report(now);
    const stat = create(StatSchema, {
      podName: this.#pod,
      averageConcurrentRequests: report.averageConcurrency,
      averageProxiedConcurrentRequests: report.averageProxiedConcurrency,
      requestCount: report.requestRate,
      proxiedRequestCount: report.proxiedRequestRate,
      processUptime: (now - this.#begun) / 1000,
      timestamp: BigInt(Date.now()),
    });
    this.#message = toBinary(StatSchema, stat);
  }

  /** A `metrics.Stat` of the last whole second; before the first, the pod's name only. */
  get message(): Uint8Array {
    return this.#message;
  }
}
