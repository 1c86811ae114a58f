import type { BenchCase } from "./bench-case.ts";
import { sampleCall } from "./sample-call.ts";

/** A tree ensemble. */
export const forest: BenchCase = {
  name: "forest",
  about: "ModelInfer, forest of 100 trees, one row of 30 FP32, raw contents",
  maxInFlight: 1024,
  makeCall: () => sampleCall("forest"),
};
