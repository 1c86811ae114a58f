import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { datatypeOfConfig } from "../../server/predictor/model-config/data-type.ts";
import { readModelSettings } from "../../server/predictor/model-config/read-model-settings.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, runTool } from "../support/tools.ts";

const mlserver = findPython("mlserver");

interface Row {
  readonly name: string;
  readonly version: string | null;
  readonly uri: string;
  readonly batching: [number, number] | null;
  readonly inputs: readonly (readonly [string, string, readonly number[]])[];
}

const settings: Readonly<Record<string, object>> = {
  named: {
    name: "other-name",
    implementation: "mlserver_onnx.OnnxModel",
    parameters: { uri: "./model.onnx", version: "v1.10" },
  },
  unnamed: { implementation: "mlserver_onnx.OnnxModel", parameters: { uri: "." } },
  shared: {
    implementation: "mlserver_onnx.OnnxModel",
    parameters: { uri: "../named/model.onnx", version: "3" },
  },
  batched: {
    implementation: "mlserver_onnx.OnnxModel",
    max_batch_size: 16,
    max_batch_time: 0.25,
    inputs: [
      { name: "a", datatype: "FP32", shape: [-1, 4] },
      { name: "b", datatype: "BYTES", shape: [-1] },
    ],
    parameters: { uri: "./model.onnx", extra: { k: 1 } },
  },
  unbatched: {
    implementation: "mlserver_onnx.OnnxModel",
    max_batch_size: 16,
    parameters: { uri: "./model.onnx" },
  },
};

(mlserver ? test : test.skip)(
  "MLServer reads the same names, versions, files and batches",
  async (t) => {
    const root = await temporaryFolder(
      t,
      Object.fromEntries(
        Object.entries(settings).flatMap(([folder, fields]) => [
          [`${folder}/model-settings.json`, JSON.stringify(fields)],
          [`${folder}/model.onnx`, ""],
        ]),
      ),
    );
    const script = fileURLToPath(new URL("./python/mlserver_settings.py", import.meta.url));
    const { code, output } = await runTool(mlserver!, [script, root]);
    t.is(code, 0, output);
    const theirs = JSON.parse(/^ROWS(.*)$/m.exec(output)![1]!) as Row[];
    const folders = await readdir(root);
    const ours: Row[] = [];
    for (const folder of folders) {
      const read = await readModelSettings(join(root, folder, "model-settings.json"), root);
      const { maxRows, maxDelayMs } = read.batching;
      const given = (settings[folder] as { parameters?: { version?: string } }).parameters;
      ours.push({
        name: read.name,
        // MLServer has none where we have 1.
        version: given?.version === undefined ? null : read.version,
        uri: read.place.endsWith(".onnx") ? read.place : join(read.place, "model.onnx"),
        batching: maxRows === undefined ? null : [maxRows, maxDelayMs! / 1000],
        inputs: read.config.input.map(({ name, dataType, dims }) => [
          name,
          datatypeOfConfig(dataType)!,
          dims.map(Number),
        ]),
      });
    }
    const byName = (a: Row, b: Row): number => (a.name < b.name ? -1 : 1);
    t.deepEqual(ours.toSorted(byName), theirs.toSorted(byName));
  },
);
