import { createClient, tensor } from "@tensorwire/client/web";
import { imageSize } from "./digit-image.ts";

/** Name of the model in examples/models. */
const modelName = "digits";

/** How the page calls the server. */
export type Protocol = "grpc-web" | "connect";

/** What the model says of an image. */
export interface Reading {
  /** Of the digits 0 to 9, 0 to 1. */
  readonly probabilities: Float32Array;
  /** From the call to its answer, in ms. */
  readonly latencyMs: number;
}

/** The digits model of a server. */
export interface DigitModel {
  /**
   * Name and version of the model.
   *
   * @throws InferenceError
   */
  describe(): Promise<string>;
  /** @throws InferenceError */
  read(image: Float32Array, signal: AbortSignal): Promise<Reading>;
  close(): void;
}

/**
 * Connects to the model named `digits`.
 *
 * @param server - address of the server
 * @throws InferenceError for an impossible address
 */
export function connectModel(server: string, protocol: Protocol): DigitModel {
  const client = createClient(server, { protocol, timeoutMs: 5000 });
  return {
    async describe() {
      const { name, versions } = await client.modelMetadata(modelName);
      return `${name}, version ${versions.at(-1)}`;
    },
    async read(image, signal) {
      const started = performance.now();
      const result = await client.infer(
        modelName,
        { image: tensor([1, imageSize, imageSize], image) },
        { outputs: ["probabilities"], signal },
      );
      return {
        probabilities: result.output("probabilities", "FP32").data,
        latencyMs: performance.now() - started,
      };
    },
    close: () => client.close(),
  };
}
