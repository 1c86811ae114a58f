import type { BenchCase } from "./bench-case.ts";
import { identityCall } from "./identity-call.ts";

/** A message as large as one picture of 224x224 in three colours. */
export const identity600kb: BenchCase = {
  name: "identity-600kb",
  about: "ModelInfer, identity, 602 112 bytes of FP32 in and out, raw contents",
  maxInFlight: 256,
  makeCall: () => identityCall(3 * 224 * 224),
};
