import { createRequire } from "node:module";
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";

/**
 * A session of onnxruntime-node's native binding. Its `run` computes before it returns; the public
 * InferenceSession puts a turn of the event loop around it, which costs as much as a small model.
 */
export interface NativeSession {
  readonly outputMetadata: readonly { readonly name: string }[];
  loadModel(path: string, options: InferenceSession.SessionOptions): void;
  loadModel(
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength: number,
    options: InferenceSession.SessionOptions,
  ): void;
  /**
   * @param feeds - tensors by input
   * @param fetches - outputs to compute; `null` lets the runtime allocate one
   * @throws Error with the runtime's words
   */
  run(
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches: Readonly<Record<string, OrtTensor | null>>,
    options: InferenceSession.RunOptions,
  ): Record<string, OrtTensor>;
  dispose(): void;
}

/** The module of onnxruntime-node that holds the binding; the package is pinned to one version. */
interface BindingModule {
  readonly binding: { readonly InferenceSession: new () => NativeSession };
  readonly initOrt: () => void;
}

const { binding, initOrt } = createRequire(import.meta.url)(
  "onnxruntime-node/dist/binding.js",
) as BindingModule;

/** Starts the runtime in this thread, as opening the first model would. */
export function prepareRuntime(): void {
  initOrt();
}

/**
 * Opens a model from a file, or from its bytes.
 *
 * @throws Error with the runtime's words
 */
export function openNativeSession(
  source: string | Uint8Array,
  options: InferenceSession.SessionOptions,
): NativeSession {
  initOrt();
  const session = new binding.InferenceSession();
  if (typeof source === "string") session.loadModel(source, options);
  else session.loadModel(source.buffer, source.byteOffset, source.byteLength, options);
  return session;
}
