import type { BenchCase } from "./bench-case.ts";
import { sampleCall } from "./sample-call.ts";

/** The smallest model. */
export const iris: BenchCase = {
  name: "iris",
  about: "ModelInfer, logistic regression, one row of 4 FP32, raw contents",
  maxInFlight: 1024,
  makeCall: () => sampleCall("iris"),
};
