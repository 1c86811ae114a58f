import type { BenchCall } from "./bench-case.ts";
import { inferCall } from "./infer-call.ts";

/** A call that sends a row of FP32 elements to the identity model, which sends them back. */
export function identityCall(elements: number): BenchCall {
  const row = Float32Array.from({ length: elements }, (_, index) => (index % 1000) / 1000);
  const bytes = new Uint8Array(row.buffer);
  return inferCall(
    "identity",
    [{ name: "INPUT0", datatype: "FP32", shape: [1, elements], bytes }],
    [{ name: "OUTPUT0", datatype: "FP32", bytes }],
  );
}
