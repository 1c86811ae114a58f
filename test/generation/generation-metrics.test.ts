import test from "ava";
import { Registry } from "prom-client";
import {
  type GenerationMetricsSource,
  registerGenerationMetrics,
} from "../../server/generation/generation-metrics.ts";
import { createGenerationStatistics } from "../../server/generation/generation-statistics.ts";

test("the text of the metrics is Prometheus', with cumulative buckets and vLLM's names", async (t) => {
  const registry = new Registry();
  const sources: GenerationMetricsSource[] = [];
  registerGenerationMetrics(registry, () => sources);
  t.notRegex(await registry.metrics(), /^(vllm|tensorwire)/m);
  const statistics = createGenerationStatistics();
  statistics.add({
    running: 2,
    waiting: 3,
    slots: 8,
    maxWaiting: 64,
    cacheUsage: 0.25,
    promptTokens: 7,
    generatedTokens: 5,
    timesToFirstToken: [0.001, 0.003, 5000],
    interTokenLatencies: [],
    ended: [
      { reason: "cancelled", seconds: 1 },
      { reason: "length", seconds: 1 },
    ],
  });
  sources.push({ model: "m", version: "2", snapshot: statistics.snapshot() });
  const lines = (await registry.metrics()).split("\n");
  const has = (line: string) => t.true(lines.includes(line), line);
  has('vllm:num_requests_running{model_name="m",version="2"} 2');
  has('vllm:num_requests_waiting{model_name="m",version="2"} 3');
  has('tensorwire_generation_slots{model_name="m",version="2"} 8');
  has('tensorwire_generation_waiting_limit{model_name="m",version="2"} 64');
  has('vllm:kv_cache_usage_perc{model_name="m",version="2"} 0.25');
  has('vllm:prompt_tokens_total{model_name="m",version="2"} 7');
  has('vllm:generation_tokens_total{model_name="m",version="2"} 5');
  has('vllm:request_success_total{model_name="m",version="2",finished_reason="abort"} 1');
  has('vllm:request_success_total{model_name="m",version="2",finished_reason="length"} 1');
  has('vllm:request_success_total{model_name="m",version="2",finished_reason="stop"} 0');
  has("# TYPE vllm:time_to_first_token_seconds histogram");
  const bucket = (le: string, value: number) =>
    has(`vllm:time_to_first_token_seconds_bucket{model_name="m",version="2",le="${le}"} ${value}`);
  bucket("0.001", 1);
  bucket("0.0025", 1);
  bucket("0.005", 2);
  bucket("2560", 2);
  bucket("+Inf", 3);
  has('vllm:time_to_first_token_seconds_count{model_name="m",version="2"} 3');
  has('vllm:time_to_first_token_seconds_sum{model_name="m",version="2"} 5000.004');
  // Counts are the source's: reading them twice does not double them.
  t.is(await registry.metrics(), lines.join("\n"));
  sources.length = 0;
  t.notRegex(await registry.metrics(), /^(vllm|tensorwire)/m);
});
