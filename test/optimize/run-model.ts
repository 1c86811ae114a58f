import { InferenceSession, Tensor } from "onnxruntime-node";

/** Runs a model of float inputs in ONNX Runtime as it is written, and gives its float outputs. */
export async function runModel(
  bytes: Uint8Array,
  inputs: Readonly<Record<string, readonly [values: Float32Array, shape: readonly number[]]>>,
): Promise<Readonly<Record<string, readonly number[]>>> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 4,
  });
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, [values, shape]]) => [
      name,
      new Tensor("float32", values, shape),
    ]),
  );
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}
