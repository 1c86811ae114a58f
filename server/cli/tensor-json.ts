import type { InferResult, TypedTensor } from "../../clients/typescript/src/node.ts";
import { jsonElements } from "../tensor/json-data.ts";
import { bytesOf } from "../tensor/typed-array.ts";

/**
 * An answer as one line of JSON, in the form that REST answers in. 64-bit integers stay exact, so they
 * may be beyond what a double holds.
 */
export function resultJson(result: InferResult, latencyMs: number): string {
  const outputs = Object.entries(result.outputs).map(([name, tensor]) => {
    const head = JSON.stringify({ name, datatype: tensor.datatype, shape: tensor.shape });
    return `${head.slice(0, -1)},"data":[${elementsOf(name, tensor).join(",")}]}`;
  });
  const head = JSON.stringify({
    model_name: result.modelName,
    model_version: result.modelVersion,
    latency_ms: Number(latencyMs.toFixed(3)),
  });
  return `${head.slice(0, -1)},"outputs":[${outputs.join(",")}]}`;
}

function elementsOf(name: string, tensor: TypedTensor): string[] {
  const { shape } = tensor;
  return tensor.datatype === "BYTES"
    ? jsonElements({ name, datatype: "BYTES", shape, elements: tensor.bytes })
    : jsonElements({ name, datatype: tensor.datatype, shape, bytes: bytesOf(tensor.data) });
}
