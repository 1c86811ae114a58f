import { readFileSync } from "node:fs";
import type { BenchCall } from "./bench-case.ts";
import { inferCall } from "./infer-call.ts";

interface SampleTensor {
  readonly datatype: "FP32" | "INT64";
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

interface Sample {
  readonly inputs: Readonly<Record<string, SampleTensor>>;
  readonly outputs: Readonly<Record<string, SampleTensor>>;
}

/**
 * A call with the first sample row of an example model, or with so many rows that repeat the samples; the
 * answer must be that of ONNX Runtime in Python, which stands beside them in `examples/models/samples.json`.
 */
export function sampleCall(model: string, rows = 1): BenchCall {
  const file = new URL("../../examples/models/samples.json", import.meta.url);
  const samples: Readonly<Record<string, Sample>> = JSON.parse(readFileSync(file, "utf8"));
  const sample = samples[model];
  if (sample === undefined) throw new Error(`samples.json has no model "${model}"`);
  return inferCall(model, repeatRows(sample.inputs, rows), repeatRows(sample.outputs, rows));
}

function repeatRows(tensors: Readonly<Record<string, SampleTensor>>, rows: number) {
  return Object.entries(tensors).map(([name, { datatype, shape, data }]) => {
    const [samples = 1, ...rest] = shape;
    const width = data.length / samples;
    const values = Array.from(
      { length: rows * width },
      (_, index) => data[index % (samples * width)]!,
    );
    const elements =
      datatype === "FP32" ? Float32Array.from(values) : BigInt64Array.from(values.map(BigInt));
    return { name, datatype, shape: [rows, ...rest], bytes: new Uint8Array(elements.buffer) };
  });
}
