import type { BenchCase } from "./bench-case.ts";
import { sampleCall } from "./sample-call.ts";

/** The smallest model, with requests that are batches already. */
export const iris64Rows: BenchCase = {
  name: "iris-64-rows",
  about: "ModelInfer, logistic regression, 64 rows of 4 FP32, raw contents",
  maxInFlight: 1024,
  makeCall: () => sampleCall("iris", 64),
};
