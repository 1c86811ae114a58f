import type { BenchCase } from "./bench-case.ts";
import { sampleCall } from "./sample-call.ts";

/** A network of two hidden layers. */
export const digits: BenchCase = {
  name: "digits",
  about: "ModelInfer, network of two hidden layers, one image of 8x8 FP32, raw contents",
  maxInFlight: 1024,
  makeCall: () => sampleCall("digits"),
};
