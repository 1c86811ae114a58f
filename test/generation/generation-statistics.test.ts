import test from "ava";
import {
  createGenerationStatistics,
  sumSnapshots,
} from "../../server/generation/generation-statistics.ts";

const nothing = {
  running: 0,
  waiting: 0,
  slots: 4,
  maxWaiting: 16,
  cacheUsage: 0,
  promptTokens: 0,
  generatedTokens: 0,
  timesToFirstToken: [],
  interTokenLatencies: [],
  ended: [],
};

test("observations add up; how things stand is what the last one says", (t) => {
  const statistics = createGenerationStatistics();
  statistics.add({
    ...nothing,
    running: 2,
    waiting: 1,
    cacheUsage: 0.5,
    promptTokens: 10,
    generatedTokens: 2,
    // On a bound counts below it, as in Prometheus.
    timesToFirstToken: [0.001, 0.0011, 9999],
    ended: [{ reason: "stop", seconds: 2 }],
  });
  statistics.add({
    ...nothing,
    running: 1,
    generatedTokens: 3,
    interTokenLatencies: [0.002, 0.002],
    ended: [
      { reason: "error", seconds: 1 },
      { reason: "cancelled", seconds: 0.01 },
    ],
  });
  const { gauges, counters, finished, histograms } = statistics.snapshot();
  t.deepEqual(gauges, {
    "vllm:num_requests_running": 1,
    "vllm:num_requests_waiting": 0,
    tensorwire_generation_slots: 4,
    tensorwire_generation_waiting_limit: 16,
    "vllm:kv_cache_usage_perc": 0,
  });
  t.deepEqual(counters, { "vllm:prompt_tokens_total": 10, "vllm:generation_tokens_total": 5 });
  t.deepEqual(finished, { stop: 1, length: 0, cancelled: 1, error: 1 });
  const first = histograms["vllm:time_to_first_token_seconds"];
  t.deepEqual(first.counts.slice(0, 3), [1, 1, 0]);
  t.is(first.counts.at(-1), 1);
  t.is(first.counts.length, first.bounds.length + 1);
  t.is(first.sum, 0.001 + 0.0011 + 9999);
  const between = histograms["vllm:inter_token_latency_seconds"];
  t.is(between.counts[between.bounds.indexOf(0.0025)], 2);
  t.is(histograms["vllm:e2e_request_latency_seconds"].sum, 3.01);
});

test("a snapshot does not change with what comes after it", (t) => {
  const statistics = createGenerationStatistics();
  const before = statistics.snapshot();
  statistics.add({ ...nothing, timesToFirstToken: [1], ended: [{ reason: "stop", seconds: 1 }] });
  t.is(before.finished.stop, 0);
  t.true(
    before.histograms["vllm:time_to_first_token_seconds"].counts.every((count) => count === 0),
  );
});

test("snapshots of instances are added up; of the shares of their caches the mean counts", (t) => {
  const snapshot = (running: number, cacheUsage: number, seconds: number) => {
    const statistics = createGenerationStatistics();
    const ended = [{ reason: "stop" as const, seconds }];
    statistics.add({ ...nothing, running, cacheUsage, generatedTokens: 4, ended });
    return statistics.snapshot();
  };
  const sum = sumSnapshots([snapshot(1, 0.5, 1), snapshot(2, 0.25, 1), snapshot(3, 0, 2)])!;
  t.is(sum.gauges["vllm:num_requests_running"], 6);
  t.is(sum.gauges.tensorwire_generation_slots, 12);
  t.is(sum.gauges["vllm:kv_cache_usage_perc"], 0.25);
  t.is(sum.counters["vllm:generation_tokens_total"], 12);
  t.is(sum.finished.stop, 3);
  const { bounds, counts, sum: seconds } = sum.histograms["vllm:e2e_request_latency_seconds"];
  t.is(seconds, 4);
  t.is(counts[bounds.indexOf(1)], 2);
  t.is(counts[bounds.indexOf(2)], 1);
  t.is(sumSnapshots([]), undefined);
});
