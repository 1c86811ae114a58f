import { readFileSync } from "node:fs";
import type { BenchCase } from "./bench-case.ts";
import { inferCall } from "./infer-call.ts";

const side = 224;

/** A picture, and a model that takes as long as its message. bench/models/make-convnet.py wrote both. */
export const convnet: BenchCase = {
  name: "convnet",
  about:
    "ModelInfer, convolutional network of 0.65 ms, one picture of 3x224x224 FP32, raw contents",
  maxInFlight: 1024,
  makeCall() {
    const file = new URL("../models/convnet/expected.json", import.meta.url);
    const { probabilities } = JSON.parse(readFileSync(file, "utf8")) as {
      readonly probabilities: readonly number[];
    };
    const image = Float32Array.from(
      { length: 3 * side * side },
      (_, index) => (index % 1000) / 1000,
    );
    return inferCall(
      "convnet",
      [
        {
          name: "image",
          datatype: "FP32",
          shape: [1, 3, side, side],
          bytes: new Uint8Array(image.buffer),
        },
      ],
      [
        {
          name: "probabilities",
          datatype: "FP32",
          bytes: new Uint8Array(Float32Array.from(probabilities).buffer),
        },
      ],
    );
  },
};
