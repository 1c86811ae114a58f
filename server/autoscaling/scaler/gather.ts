import { fromBinary } from "@bufbuild/protobuf";
import { StatSchema } from "../../../gen/metrics/stat_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import type { Address } from "./endpoints.ts";
import { type HistogramBucket, histogramQuantile } from "./histogram-quantile.ts";
import { parsePrometheusText, type Sample } from "./prometheus-text.ts";
import type { SampleView, TriggerSource } from "./trigger.ts";

const askTimeoutMs = 3_000;
const maxAnswerBytes = 8 * 1024 * 1024;
/** Endpoints that are asked at once. */
const askedAtOnce = 64;

/** Counters of one endpoint at one time, from which rates and quantiles of a window come. */
export type Counters = ReadonlyMap<string, number>;

/** What was found. */
export interface Gathered {
  /** `undefined` while there is nothing to compare counters with. */
  readonly value: number | undefined;
  readonly asked: number;
  readonly answered: number;
}

/** Asks endpoints and puts their answers together, again and again; keeps what counters were before. */
export class Gatherer {
  readonly #source: Exclude<TriggerSource, { kind: "prometheus" }>;
  #before = new Map<string, Counters>();

  constructor(source: Exclude<TriggerSource, { kind: "prometheus" }>) {
    this.#source = source;
  }

  /**
   * Asks all. What does not answer counts as the mean of the others: a pod that is too busy to answer is not
   * one without load.
   *
   * @param seconds - since the last time
   * @throws Error if there are endpoints and none answers
   */
  async gather(addresses: readonly Address[], seconds: number): Promise<Gathered> {
    const asked = addresses.length;
    const numbers: (number | undefined)[] = [];
    const failures: string[] = [];
    const before = this.#before;
    this.#before = new Map();
    for (let at = 0; at < asked; at += askedAtOnce) {
      const answers = await Promise.allSettled(
        addresses.slice(at, at + askedAtOnce).map((address) => this.#ask(address, before, seconds)),
      );
      for (const answer of answers) {
        if (answer.status === "fulfilled") numbers.push(answer.value);
        else failures.push(messageOf(answer.reason));
      }
    }
    if (asked > 0 && failures.length === asked) throw new Error(failures[0]);
    const known = numbers.filter((value) => value !== undefined);
    if (known.length === 0) {
      return { value: asked === 0 ? 0 : undefined, asked, answered: numbers.length };
    }
    return { value: this.#together(known, asked), asked, answered: numbers.length };
  }

  #together(known: readonly number[], asked: number): number {
    const across = this.#source.kind === "stat" ? "sum" : this.#source.across;
    const sum = known.reduce((total, value) => total + value, 0);
    switch (across) {
      case "sum":
        return (sum * asked) / known.length;
      case "mean":
        return sum / known.length;
      case "max":
        return Math.max(...known);
    }
  }

  async #ask(
    { host, port }: Address,
    before: ReadonlyMap<string, Counters>,
    seconds: number,
  ): Promise<number | undefined> {
    const source = this.#source;
    const url = `http://${host}:${port}/metrics`;
    if (source.kind === "stat") {
      const stat = fromBinary(StatSchema, await read(url, "application/protobuf"));
      return source.value === "concurrency" ? stat.averageConcurrentRequests : stat.requestCount;
    }
    const text = Buffer.from(await read(url, "text/plain")).toString();
    const { name, labels, view } = source;
    const family = view.kind === "quantile" ? `${name}_bucket` : name;
    const samples = parsePrometheusText(text, (each) => each === family).filter((sample) =>
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
    if (view.kind === "value") return samples.reduce((sum, { value }) => sum + value, 0);
    const counters = countersOf(samples);
    this.#before.set(url, counters);
    const earlier = before.get(url);
    return earlier && seconds > 0 ? ofCounters(view, counters, earlier, seconds) : undefined;
  }
}

function countersOf(samples: readonly Sample[]): Counters {
  const counters = new Map<string, number>();
  for (const { labels, value } of samples) {
    counters.set(
      JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))),
      value,
    );
  }
  return counters;
}

function ofCounters(
  view: Exclude<SampleView, { kind: "value" }>,
  counters: Counters,
  earlier: Counters,
  seconds: number,
): number | undefined {
  // A counter that fell was begun anew.
  const risen = [...counters].map(([key, value]) => {
    const was = earlier.get(key) ?? 0;
    return { key, by: value < was ? value : value - was };
  });
  if (view.kind === "rate") return risen.reduce((sum, { by }) => sum + by, 0) / seconds;
  const buckets = risen.flatMap(({ key, by }): HistogramBucket[] => {
    const labels = Object.fromEntries(JSON.parse(key) as [string, string][]);
    const { le } = labels;
    if (le === undefined) return [];
    return [{ bound: le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le), count: by }];
  });
  // Without calls there is no latency.
  return histogramQuantile(buckets, view.share) ?? 0;
}

/** Reads an answer of a bounded size within a bounded time. */
export async function read(url: string, accept: string): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(askTimeoutMs);
  const response = await fetch(url, { headers: { accept }, redirect: "error", signal });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`${url} answers ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxAnswerBytes) throw new Error(`${url} sends more than ${maxAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
