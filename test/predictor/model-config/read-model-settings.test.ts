import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test, { type ExecutionContext } from "ava";
import { DataType } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import {
  type ModelSettings,
  readModelSettings,
} from "../../../server/predictor/model-config/read-model-settings.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

async function read(
  t: ExecutionContext,
  settings: unknown,
): Promise<{ readonly root: string; readonly settings: ModelSettings }> {
  const text = typeof settings === "string" ? settings : JSON.stringify(settings);
  const root = await temporaryFolder(t, { "churn/model-settings.json": text });
  return { root, settings: await readModelSettings(join(root, "churn/model-settings.json"), root) };
}

test("every field that means something here is read", async (t) => {
  const { root, settings } = await read(t, {
    name: "customer-churn",
    implementation: "mlserver_onnx.OnnxModel",
    platform: "onnx",
    versions: ["onnx/1.19"],
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4], parameters: { content_type: "np" } }],
    outputs: [{ name: "y", datatype: "BYTES", shape: [-1] }],
    max_batch_size: 32,
    max_batch_time: 0.005,
    parallel_workers: 2,
    parameters: {
      uri: "./weights/best.onnx",
      version: "v1.2.3",
      content_type: "np",
      extra: { priority_aging_microseconds: 500, note: "kept" },
    },
  });
  t.is(settings.name, "customer-churn");
  t.is(settings.version, "v1.2.3");
  t.is(settings.place, join(root, "churn/weights/best.onnx"));
  t.deepEqual(settings.batching, { maxRows: 32, maxDelayMs: 5 });
  const { input, output, parameters, maxBatchSize } = settings.config;
  t.deepEqual(
    [...input, ...output].map(({ name, dataType, dims }) => [name, dataType, dims]),
    [
      ["x", DataType.TYPE_FP32, [-1n, 4n]],
      ["y", DataType.TYPE_STRING, [-1n]],
    ],
  );
  t.is(maxBatchSize, 0);
  t.deepEqual(
    Object.fromEntries(Object.entries(parameters).map(([key, value]) => [key, value.stringValue])),
    { priority_aging_microseconds: "500", note: "kept", content_type: "np" },
  );
});

test("what is left out is as MLServer has it: the folder's name, its files, no batching of its own", async (t) => {
  const { root, settings } = await read(t, {});
  t.is(settings.name, "churn");
  t.is(settings.version, "1");
  t.is(settings.place, join(root, "churn"));
  t.deepEqual(settings.batching, {});
  const without = await read(t, { max_batch_size: 16, parameters: null, inputs: null });
  t.deepEqual(without.settings.batching, {});
});

test("a uri is a path within the repository, of any form", async (t) => {
  const root = await temporaryFolder(t);
  const place = async (uri: string): Promise<string> => {
    const { root: own, settings } = await read(t, { parameters: { uri } });
    return settings.place.slice(own.length);
  };
  t.is(await place("."), "/churn");
  t.is(await place("../shared/model.onnx"), "/shared/model.onnx");
  for (const uri of ["../../other.onnx", "/etc/passwd", pathToFileURL(root).href, `${root}/x`]) {
    const error = await t.throwsAsync(read(t, { parameters: { uri } }), {
      instanceOf: TensorwireError,
      message: /expected a path within the model repository/,
    });
    t.is(error?.reason, "MODEL_CONFIG_INVALID");
  }
  const remote = await t.throwsAsync(read(t, { parameters: { uri: "s3://bucket/model.onnx" } }), {
    instanceOf: TensorwireError,
    message: /"s3:\/\/bucket\/model\.onnx", which is not on this machine/,
  });
  t.is(remote?.reason, "MODEL_UNSUPPORTED");
});

test("other implementations and platforms are refused by name", async (t) => {
  const settings = [
    { implementation: "mlserver_sklearn.SKLearnModel" },
    { implementation: "models.MyModel", platform: "onnx" },
    { platform: "xgboost" },
  ];
  for (const given of settings) {
    const error = await t.throwsAsync(read(t, { name: "m", ...given }), {
      instanceOf: TensorwireError,
      message:
        /model "m": model-settings\.json has (implementation|platform) "(mlserver_sklearn\.SKLearnModel|models\.MyModel|xgboost)"/,
    });
    t.is(error?.reason, "MODEL_UNSUPPORTED");
  }
});

const malformed: Readonly<Record<string, readonly [given: unknown, message: RegExp]>> = {
  "no JSON": ["{name:", /model-settings\.json cannot be read/],
  "a list": [[], /is no JSON object/],
  "a number as name": [{ name: 7 }, /has name 7, expected a text/],
  "a version that is a path": [
    { parameters: { version: "../1" } },
    /parameters\.version "\.\.\/1", expected up to 64 letters/,
  ],
  "an unknown datatype": [
    { inputs: [{ name: "x", datatype: "FLOAT", shape: [1] }] },
    /inputs\[0\]\.datatype "FLOAT"/,
  ],
  "a shape of texts": [
    { outputs: [{ name: "x", datatype: "FP32", shape: ["n"] }] },
    /outputs\[0\]\.shape that is no list of sizes/,
  ],
  "a negative time": [{ max_batch_time: -1 }, /max_batch_time -1, expected a number/],
  "half a row": [{ max_batch_size: 2.5 }, /max_batch_size 2\.5, expected an integer/],
  "parameters of another kind": [{ parameters: "x" }, /parameters "x", expected an object/],
};

for (const [what, [given, message]] of Object.entries(malformed)) {
  test(`${what} is refused with the field`, async (t) => {
    const error = await t.throwsAsync(read(t, given), { instanceOf: TensorwireError, message });
    t.is(error?.reason, "MODEL_CONFIG_INVALID");
  });
}
