import { create, toJson } from "@bufbuild/protobuf";
import test from "ava";
import {
  ModelStatisticsResponseSchema,
  TraceSettingResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { messageJson } from "../../../server/rpc/rest/message-json.ts";

test("statistics have their integers as numbers, all digits of them", (t) => {
  const json = messageJson(
    ModelStatisticsResponseSchema,
    create(ModelStatisticsResponseSchema, {
      modelStats: [
        {
          name: "m",
          version: "1",
          inferenceCount: 3n,
          inferenceStats: { success: { count: 2n, ns: 2n ** 63n + 1n } },
          batchStats: [{ batchSize: 4n }],
          responseStats: { "0": { cancel: { count: 1n, ns: 5n } } },
        },
      ],
    }),
  );
  t.is(
    json,
    '{"model_stats":[{"name":"m","version":"1","last_inference":0,"inference_count":3,"execution_count":0,"inference_stats":{"success":{"count":2,"ns":9223372036854775809}},"batch_stats":[{"batch_size":4}],"memory_usage":[],"response_stats":{"0":{"cancel":{"count":1,"ns":5}}}}]}',
  );
});

test("a configuration is that of protobuf's JSON, but for the integers of 64 bits", (t) => {
  const config = create(ModelConfigSchema, {
    name: "é",
    maxBatchSize: 8,
    input: [{ name: "x", dataType: 11, dims: [-1n, 4n] }],
    instanceGroup: [{ kind: 2, gpus: [1, 2] }],
    parameters: { key: { stringValue: 'a"b' } },
    schedulingChoice: { case: "dynamicBatching", value: { preferredBatchSize: [4] } },
  });
  const given = JSON.parse(messageJson(ModelConfigSchema, config), (key, value) =>
    key === "dims" ? value.map(String) : value,
  );
  const expected = toJson(ModelConfigSchema, config, {
    useProtoFieldName: true,
    alwaysEmitImplicit: true,
  }) as { dynamic_batching: object };
  t.deepEqual(given.input[0].dims, ["-1", "4"]);
  // These two are 64-bit integers as well.
  const batching = {
    ...expected.dynamic_batching,
    max_queue_delay_microseconds: 0,
    default_priority_level: 0,
    priority_levels: 0,
  };
  t.deepEqual(given, { ...expected, dynamic_batching: batching });
});

test("lists in maps are written", (t) => {
  const message = create(TraceSettingResponseSchema, {
    settings: { trace_level: { value: ["TIMESTAMPS", "TENSORS"] } },
  });
  t.is(
    messageJson(TraceSettingResponseSchema, message),
    '{"settings":{"trace_level":{"value":["TIMESTAMPS","TENSORS"]}}}',
  );
});
