import { create } from "@bufbuild/protobuf";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { CachedExecutor } from "../../../server/predictor/cache/cached-executor.ts";
import type { Repeats } from "../../../server/predictor/cache/repeats.ts";
import { ResponseCache } from "../../../server/predictor/cache/response-cache.ts";
import { type CachedModels, withCache } from "../../../server/predictor/cache/with-cache.ts";
import type { Executor } from "../../../server/predictor/executor.ts";
import { ModelStatistics } from "../../../server/predictor/model-statistics.ts";
import { recordingLog } from "../../support/silent-log.ts";

const plain: Executor = {
  waiting: 0,
  running: 0,
  placement: "test",
  memoryBytes: 0,
  execute: () => ({ outputs: [], inferNs: 0, startedMs: 0, runRows: 1 }),
  idle: async () => {},
  release: async () => {},
};

/** @param asked - `response_cache { enable }` of the configuration; `undefined` is none */
function open(repeats: Repeats, asked: boolean | undefined, models: CachedModels | "none") {
  const config = create(
    ModelConfigSchema,
    asked === undefined ? {} : { responseCache: { enable: asked } },
  );
  const log = recordingLog();
  const executor = withCache(
    { name: "m", config, executor: plain, repeats, statistics: new ModelStatistics() },
    {
      ...(models !== "none" && { responses: { cache: new ResponseCache(1000), models } }),
      maxQueueSize: 1,
      log,
    },
  );
  return { executor, config, log };
}

const wanted: readonly (readonly [Repeats, boolean | undefined, CachedModels | "none", boolean])[] =
  [
    ["yes", true, "configured", true],
    ["yes", undefined, "configured", false],
    ["yes", false, "configured", false],
    ["yes", undefined, "all", true],
    ["yes", false, "all", false],
    ["unknown", true, "configured", true],
    ["unknown", undefined, "all", false],
    ["unknown", true, "all", true],
    ["no", undefined, "all", false],
    ["no", false, "all", false],
    ["yes", true, "none", false],
    ["yes", undefined, "none", false],
  ];
for (const [repeats, asked, models, cached] of wanted) {
  test(`a model that repeats: ${repeats}, response_cache: ${asked}, of ${models} models, is ${cached ? "" : "not "}cached`, (t) => {
    const { executor, config } = open(repeats, asked, models);
    t.is(executor instanceof CachedExecutor, cached);
    // Without a cache a call passes none of its code.
    if (!cached) t.is(executor, plain);
    t.is(config.responseCache?.enable ?? false, cached);
  });
}

test("a configuration that asks to cache what cannot be is an error, with a cache and without", (t) => {
  for (const models of ["configured", "all", "none"] as const) {
    t.throws(() => open("no", true, models), { message: /answers cannot be kept/ });
  }
});

test("a configuration that asks for a cache that is not there is told so", (t) => {
  const { log } = open("yes", true, "none");
  t.regex(JSON.stringify(log.entries), /--response-cache-size is 0/);
});
