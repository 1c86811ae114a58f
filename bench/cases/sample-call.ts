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
 * A call with the first sample row of an example model; the answer must be that of ONNX Runtime in
 * Python, which stands beside it in `examples/models/samples.json`.
 */
export function sampleCall(model: string): BenchCall {
  const file = new URL("../../examples/models/samples.json", import.meta.url);
  const samples: Readonly<Record<string, Sample>> = JSON.parse(readFileSync(file, "utf8"));
  const sample = samples[model];
  if (sample === undefined) throw new Error(`samples.json has no model "${model}"`);
  return inferCall(model, firstRows(sample.inputs), firstRows(sample.outputs));
}

function firstRows(tensors: Readonly<Record<string, SampleTensor>>) {
  return Object.entries(tensors).map(([name, { datatype, shape, data }]) => {
    const row = data.slice(0, data.length / (shape[0] ?? 1));
    const elements =
      datatype === "FP32" ? Float32Array.from(row) : BigInt64Array.from(row.map(BigInt));
    return {
      name,
      datatype,
      shape: [1, ...shape.slice(1)],
      bytes: new Uint8Array(elements.buffer),
    };
  });
}
