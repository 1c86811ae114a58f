import type { BenchCase } from "./bench-case.ts";
import { identityCall } from "./identity-call.ts";

/** A message that passes through flow control many times. */
export const identity16mb: BenchCase = {
  name: "identity-16mb",
  about: "ModelInfer, identity, 16 MiB of FP32 in and out, raw contents",
  // MLServer turns each element into a Python object, about 130 MB a call.
  maxInFlight: 8,
  makeCall: () => identityCall(4 * 1024 * 1024),
};
