import { fromText } from "@bufbuild/protobuf/txtpb";
import test from "ava";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { foretellBytes } from "../../../server/predictor/repository/model-bytes.ts";
import { scanRepositories } from "../../../server/predictor/repository/scan.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

test("a model's file, what lies beside it, and its instances are counted; other models are not", async (t) => {
  const folder = await temporaryFolder(t, {
    "m/1/model.onnx": "x".repeat(100),
    "m/1/weights.data": "x".repeat(1_000),
    "m/1/other.onnx": "x".repeat(50_000),
    "m/1/notes/long.txt": "x".repeat(9_000),
    "m/config.pbtxt": "x".repeat(777),
  });
  const [model] = await scanRepositories([folder], undefined);
  const of = (config: string) => foretellBytes(model!, "1", fromText(ModelConfigSchema, config));
  t.deepEqual(await of(""), { least: 100, likely: 1_100 });
  t.deepEqual(await of("instance_group [ { count: 2 }, { } ]"), { least: 300, likely: 3_300 });
  t.deepEqual(await of('default_model_filename: "other.onnx"'), {
    least: 50_000,
    likely: 51_000,
  });
  t.deepEqual(await foretellBytes(model!, "2", undefined), { least: 0, likely: 0 });
});

test("a file that is a model by itself counts alone", async (t) => {
  const folder = await temporaryFolder(t, { "a.onnx": "xyz", "big.data": "x".repeat(100) });
  const [model] = await scanRepositories([`${folder}/a.onnx`], undefined);
  t.deepEqual(await foretellBytes(model!, "1", undefined), { least: 3, likely: 3 });
});
