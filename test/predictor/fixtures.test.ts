import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import test from "ava";
import { Registry } from "prom-client";
import {
  ModelInferRequestSchema,
  ModelStatisticsRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { TraceControl } from "../../server/observability/trace-control.ts";
import {
  createPredictor,
  type Predictor,
  type PredictorOptions,
} from "../../server/predictor/predictor.ts";
import { SignalCallContext } from "../../server/rpc/call-context.ts";
import { inferContentsMessage, inferResponseMessage } from "../../server/rpc/infer-messages.ts";
import { joinBytesElements, splitBytesElements } from "../../server/tensor/bytes-elements.ts";
import { decodeContents, encodeContents, hasContentsField } from "../../server/tensor/contents.ts";
import { elementCount } from "../../server/tensor/shape.ts";
import type { Tensor } from "../../server/tensor/tensor.ts";
import { localCall } from "../support/call-context.ts";
import {
  type ExpectedTensor,
  readExpectations,
  sameContents,
} from "../support/expected-tensors.ts";
import { recordingLog } from "../support/silent-log.ts";

const folder = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

const context = localCall();

const onnx: PredictorOptions["onnx"] = {
  defaults: { providers: [], graphLevel: "all" },
  execution: "auto",
  intraOpThreads: 1,
  graphCache: undefined,
};

async function start(
  repository: string,
  options: Partial<PredictorOptions> = {},
): Promise<Predictor> {
  const predictor = createPredictor({
    repositories: [folder(repository)],
    controlMode: "default",
    loadModels: [],
    modelLoading: "eager",
    preloadModels: [],
    pinModels: [],
    modelMemoryBytes: 0,
    modelLoadTimeoutMs: 60_000,
    pollIntervalMs: 60_000,
    allowRemoteControl: false,
    strictReadiness: false,
    maxQueueSize: 64,
    maxMessageBytes: 64 * 1024 * 1024,
    cores: 2,
    modelThreads: 2,
    onnx,
    serverName: "tensorwire",
    serverVersion: "0",
    registry: new Registry(),
    log: recordingLog(),
    traces: new TraceControl(undefined),
    ...options,
  });
  await predictor.start();
  return predictor;
}

const predictors: Partial<Record<"inline" | "worker" | "kept graphs" | "cached", Predictor>> = {};
const keptGraphs = mkdtempSync(join(tmpdir(), "tensorwire-graphs-"));
test.before(async () => {
  for (const execution of ["inline", "worker"] as const)
    predictors[execution] = await start("models", { onnx: { ...onnx, execution } });
  const graphCache = { folder: keptGraphs, maxBytes: 64 * 1024 * 1024 };
  const keeping = { onnx: { ...onnx, graphCache } };
  await (await start("models", keeping)).close();
  predictors["kept graphs"] = await start("models", keeping);
  const responseCache = { bytes: 64 * 1024 * 1024, models: "all" } as const;
  predictors.cached = await start("models", { responseCache });
});
test.after.always(async () => {
  for (const predictor of Object.values(predictors)) await predictor.close();
  rmSync(keptGraphs, { recursive: true, force: true });
});

function toTensor(name: string, { datatype, shape, raw }: ExpectedTensor): Tensor {
  return datatype === "BYTES"
    ? { name, datatype, shape, elements: splitBytesElements(name, raw, elementCount(shape)) }
    : { name, datatype, shape, bytes: raw };
}

function rawOf(tensor: Tensor): Uint8Array {
  return tensor.bytes ?? joinBytesElements(tensor.elements);
}

test("graphs of the models were kept, those that are adapted too", (t) => {
  const files = readdirSync(join(keptGraphs, "tensorwire-graphs"));
  const graphs = files.filter((name) => name.endsWith(".onnx"));
  // Models with equal contents have one graph.
  t.true(graphs.length > 20, files.join());
});

for (const { model, inputs, outputs } of readExpectations()) {
  const headers = [...inputs].map(([name, { datatype, shape }]) => ({
    name,
    datatype,
    shape: shape.map(BigInt),
  }));
  for (const execution of ["inline", "worker", "kept graphs"] as const) {
    test(`${model} answers raw to raw as ONNX Runtime in Python does, ${execution}`, async (t) => {
      const request = create(ModelInferRequestSchema, {
        modelName: model,
        id: "7",
        inputs: headers,
        rawInputContents: [...inputs.values()].map(({ raw }) => raw),
      });
      const response = inferResponseMessage(
        await predictors[execution]!.backend.modelInfer(request, context),
      );
      t.is(response.id, "7");
      t.is(response.modelName, model);
      t.deepEqual(
        response.outputs.map(({ name, datatype, shape }) => ({
          name,
          datatype,
          shape: shape.map(Number),
        })),
        [...outputs].map(([name, { datatype, shape }]) => ({ name, datatype, shape: [...shape] })),
      );
      for (const [index, { datatype, raw }] of [...outputs.values()].entries())
        t.true(sameContents(datatype, response.rawOutputContents[index]!, raw));
    });
  }

  test(`${model} is answered from the cache as ONNX Runtime in Python does`, async (t) => {
    const { backend } = predictors.cached!;
    const request = create(ModelInferRequestSchema, {
      modelName: model,
      inputs: headers,
      rawInputContents: [...inputs.values()].map(({ raw }) => raw),
    });
    for (let time = 0; time < 3; time++) {
      const { rawOutputContents } = inferResponseMessage(
        await backend.modelInfer(request, context),
      );
      for (const [index, { datatype, raw }] of [...outputs.values()].entries())
        t.true(sameContents(datatype, rawOutputContents[index]!, raw));
    }
    const { modelStats } = await backend.modelStatistics(
      create(ModelStatisticsRequestSchema, { name: model }),
      context,
    );
    // The newest version is the last. A graph with a Loop may hold anything, and is not cached unasked.
    const hits = Number(modelStats!.at(-1)!.inferenceStats!.cacheHit!.count);
    t.is(hits, model === "slow" ? 0 : 2);
  });

  const allTyped = [...inputs.values(), ...outputs.values()].every(({ datatype }) =>
    hasContentsField(datatype),
  );
  const typedTitle = allTyped
    ? `${model} answers typed to typed`
    : `${model} refuses typed contents, which its datatype has none of`;
  test(typedTitle, async (t) => {
    const send = () => {
      const typed = [...inputs].map(([name, expected], index) => ({
        ...headers[index],
        contents: inferContentsMessage(encodeContents(toTensor(name, expected))),
      }));
      return predictors.worker!.backend.modelInfer(
        create(ModelInferRequestSchema, { modelName: model, inputs: typed }),
        context,
      );
    };
    // The choice is the fixture's, made above; each branch is another test with a title of its own.
    await (allTyped ? answersTyped : refusesTyped)();

    async function answersTyped(): Promise<void> {
      const response = inferResponseMessage(await send());
      t.is(response.rawOutputContents.length, 0);
      for (const output of response.outputs) {
        const { datatype, shape, raw } = outputs.get(output.name)!;
        t.true(
          sameContents(
            datatype,
            rawOf(decodeContents(output.name, datatype, shape, output.contents)),
            raw,
          ),
        );
      }
    }
    async function refusesTyped(): Promise<void> {
      const error = await t.throwsAsync(async () => send(), { instanceOf: TensorwireError });
      t.is(error?.reason, "DATATYPE_NEEDS_RAW");
    }
  });
}

test("models that fail leave the good one serving, and the index says why each failed", async (t) => {
  const predictor = await start("broken");
  t.teardown(() => predictor.close());
  t.true(predictor.isReady());
  const { models } = await predictor.backend.repositoryIndex(
    { $typeName: "inference.RepositoryIndexRequest", repositoryName: "", ready: false },
    context,
  );
  const rows = models!.map(({ name, state, reason }) => [name, state, reason] as const);
  t.deepEqual(
    rows.map(([name, state]) => `${name} ${state}`),
    [
      "bad_syntax UNAVAILABLE",
      "corrupt UNAVAILABLE",
      "good READY",
      "no_file UNAVAILABLE",
      "sequence_output UNAVAILABLE",
      "wrong_datatype UNAVAILABLE",
    ],
  );
  const why = new Map(rows.map(([name, , reason]) => [name, reason ?? ""]));
  t.regex(why.get("bad_syntax")!, /config\.pbtxt cannot be parsed/);
  t.regex(why.get("corrupt")!, /failed to load/);
  t.regex(why.get("no_file")!, /has no file model\.onnx/);
  t.regex(why.get("sequence_output")!, /output "parts" is seq\(tensor\(float\)\)/);
  t.regex(why.get("wrong_datatype")!, /data_type TYPE_INT64, the model declares FP32/);
});

test("with strict readiness a failed model keeps the server from being ready", async (t) => {
  const predictor = await start("broken", { strictReadiness: true });
  t.teardown(() => predictor.close());
  t.false(predictor.isReady());
});

test("in mode explicit only the models named are loaded", async (t) => {
  const predictor = await start("models", { controlMode: "explicit", loadModels: ["add_sub"] });
  t.teardown(() => predictor.close());
  const { models } = await predictor.backend.repositoryIndex(
    { $typeName: "inference.RepositoryIndexRequest", repositoryName: "", ready: true },
    context,
  );
  t.deepEqual(
    models!.map(({ name }) => name),
    ["add_sub"],
  );
  await t.throwsAsync(start("models", { controlMode: "explicit", loadModels: ["nope"] }), {
    instanceOf: TensorwireError,
    message: /"nope"/,
  });
});

const loadRequest = (fields: { repositoryName?: string; modelName?: string }) => ({
  $typeName: "inference.RepositoryModelLoadRequest" as const,
  repositoryName: "",
  modelName: "",
  parameters: {},
  ...fields,
});

test("load takes the name in Triton's field and in KServe's", async (t) => {
  const predictor = await start("models", { controlMode: "explicit" });
  t.teardown(() => predictor.close());
  t.deepEqual(
    await predictor.backend.repositoryModelLoad(loadRequest({ modelName: "fixed" }), context),
    { modelName: "fixed", isLoaded: true },
  );
  t.deepEqual(
    await predictor.backend.repositoryModelLoad(loadRequest({ repositoryName: "scalar" }), context),
    { modelName: "scalar", isLoaded: true },
  );
  const both = await t.throwsAsync(
    predictor.backend.repositoryModelLoad(
      loadRequest({ repositoryName: "a", modelName: "b" }),
      context,
    ),
    { instanceOf: TensorwireError },
  );
  t.is(both?.reason, "REPOSITORY_UNSUPPORTED");
});

test("load is refused from other machines, and in the modes that forbid it", async (t) => {
  const remote = new SignalCallContext(
    context.signal,
    { address: "10.0.0.7", local: false },
    context.requestHeader,
  );
  const error = await t.throwsAsync(
    predictors.worker!.backend.repositoryModelLoad(loadRequest({ modelName: "fixed" }), remote),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "CONTROL_NOT_LOCAL");
  for (const controlMode of ["none", "poll"] as const) {
    const predictor = await start("broken", { controlMode });
    t.teardown(() => predictor.close());
    const refused = await t.throwsAsync(
      predictor.backend.repositoryModelLoad(loadRequest({ modelName: "good" }), context),
      { instanceOf: TensorwireError },
    );
    t.is(refused?.reason, "CONTROL_MODE_FORBIDS");
  }
});
