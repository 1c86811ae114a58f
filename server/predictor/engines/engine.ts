import type { Datatype } from "../../tensor/datatype.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** An input or output as the model file declares it. */
export interface DeclaredPort {
  readonly name: string;
  readonly datatype: Datatype;
  /** -1 is any size; `undefined` if the model declares no rank. */
  readonly shape: readonly number[] | undefined;
  /** True for an input that has a default in the model. */
  readonly optional: boolean;
  /** Class names of the last dimension, empty without. */
  readonly labels: readonly string[];
}

/** A model that is loaded and can compute. Each of its instances runs one call at a time. */
export interface EngineModel {
  readonly inputs: readonly DeclaredPort[];
  readonly outputs: readonly DeclaredPort[];
  /** Runs that it computes at once. */
  readonly instances: number;
  /** Numbers of the GPUs that instances run on; none on the CPU. */
  readonly gpus?: readonly number[];
  /** Memory that the process was seen to take for it when it was opened, in bytes; 0 if not known. */
  readonly memoryBytes: number;
  /** False if equal inputs may give different outputs. */
  readonly isDeterministic: boolean;
  /** Where calls run, for logs and statistics: `inline`, `worker` or by size of the input. */
  readonly placement: string;
  /**
   * Runs the samples, in rising size, and prepares the model for calls by what it measures.
   *
   * @returns the outputs of the first sample
   * @throws TensorwireError what the first run threw
   */
  warmUp(samples: readonly (readonly Tensor[])[]): Promise<readonly Tensor[]>;
  /**
   * Computes the named outputs. Inputs may be views on foreign memory; they are not kept after the
   * promise settles. Outputs come in the order of `outputNames` and own their memory.
   *
   * @throws TensorwireError `MODEL_EXECUTION_FAILED` with the engine's words, `WORKER_LOST`
   */
  run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<EngineResult>;
  /**
   * Computes like {@link run}, before it returns, if the call is one that does not hold up the thread;
   * `undefined` if it has to go through `run`.
   */
  runNow(inputs: readonly Tensor[], outputNames: readonly string[]): EngineResult | undefined;
  /** Frees the model; calls under way end first. */
  release(): Promise<void>;
}

/** Outputs of a run. */
export interface EngineResult {
  readonly outputs: readonly Tensor[];
  /** Time in the model alone, in ns. */
  readonly inferNs: number;
}
