// What the response cache adds to a call: a call that is found, by the size of its input, and one that is not
// found and is kept, by the size of both.
//
//     node bench/micro/predictor/cache.ts
import { cacheKey } from "../../../server/predictor/cache/cache-key.ts";
import { CachedExecutor } from "../../../server/predictor/cache/cached-executor.ts";
import { ResponseCache } from "../../../server/predictor/cache/response-cache.ts";
import { noOptions } from "../../../server/predictor/call-options.ts";
import type { Executor, TensorCall } from "../../../server/predictor/executor.ts";
import { ModelStatistics } from "../../../server/predictor/model-statistics.ts";
import type { CallAbort } from "../../../server/rpc/call-context.ts";
import { nanosPerCall } from "../time-function.ts";

const sizes = [16, 1024, 16 * 1024, 64 * 1024, 600_000, 16 * 1024 * 1024];

const nobodyLeaves: CallAbort = { aborted: undefined, onAbort: () => {} };

const callOf = (bytes: Uint8Array): TensorCall => ({
  inputs: [{ name: "x", datatype: "UINT8", shape: [bytes.byteLength], bytes }],
  outputNames: ["y"],
  rows: 1,
  options: noOptions,
});

/** A model that answers at once with a tensor as large as its input. */
function modelOf(size: number): Executor {
  const outputs = [
    { name: "y", datatype: "UINT8" as const, shape: [size], bytes: new Uint8Array(size) },
  ];
  return {
    waiting: 0,
    running: 0,
    placement: "nowhere",
    memoryBytes: 0,
    execute: () => ({ outputs, inferNs: 0, startedMs: 0, runRows: 1 }),
    idle: async () => {},
    release: async () => {},
  };
}

console.log(["bytes", "key, us", "found, us", "not found, us"].join("\t"));
for (const size of sizes) {
  const bytes = new Uint8Array(size);
  const call = callOf(bytes);
  const executor = new CachedExecutor({
    model: "m",
    executor: modelOf(size),
    statistics: new ModelStatistics(),
    shelf: new ResponseCache(256 * 1024 * 1024).open(),
    limit: 1,
    preserveOrder: false,
    now: () => performance.now(),
  });
  const options = { iterations: Math.max(1, Math.floor(4_000_000 / (size + 4000))), repeats: 9 };
  const key = nanosPerCall(() => cacheKey(call, ""), options);
  const found = nanosPerCall(() => executor.execute(nobodyLeaves, call), options);
  let next = 0;
  const missed = nanosPerCall(() => {
    // Another input each time.
    new DataView(bytes.buffer).setUint32(0, next++);
    return executor.execute(nobodyLeaves, call);
  }, options);
  console.log([size, ...[key, found, missed].map((ns) => (ns / 1000).toFixed(1))].join("\t"));
}
