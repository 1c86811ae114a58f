import type { BenchCase } from "./bench-case.ts";
import { identityCall } from "./identity-call.ts";

/** A message that passes through flow control many times. */
export const identity16mb: BenchCase = {
  name: "identity-16mb",
  about: "ModelInfer, identity, 16 MiB of FP32 in and out, raw contents",
  // A peer may hold several copies of each message: of 64 that would be gigabytes.
  maxInFlight: 16,
  makeCall: () => identityCall(4 * 1024 * 1024),
};
