import type { GenerationSnapshot } from "../generation/generation-statistics.ts";
import type { CallTrace } from "../observability/call-trace.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { CallOptions } from "./call-options.ts";
import type { EngineResult } from "./engines/engine.ts";

/** A call of a model as tensors that fit its signature. */
export interface TensorCall {
  readonly inputs: readonly Tensor[];
  readonly outputNames: readonly string[];
  /** Rows of the batch; 1 for a model without a batch dimension. */
  readonly rows: number;
  readonly options: CallOptions;
  /** Set if the call is traced. */
  readonly trace?: CallTrace | undefined;
}

/** What a call of a model gave. */
export interface Execution extends EngineResult {
  /** When the model began with it, in ms on the monotonic clock. */
  readonly startedMs: number;
  /** Rows of the run; 0 if another call of the same run has counted it. */
  readonly runRows: number;
  /** Set if the call had no run of its own: another equal one had it, now or before. */
  readonly fromCache?: true | undefined;
}

/** Sequences of a model, for metrics. */
export interface SequenceCounts {
  /** Those that have a slot. */
  readonly active: number;
  /** Those that wait for one. */
  readonly waiting: number;
  readonly slots: number;
  /** Those that ended, by why. */
  readonly ends: Readonly<Record<string, number>>;
  /** Memory that their states take, and may take, in bytes. */
  readonly stateBytes: number;
  readonly stateLimitBytes: number;
}

/** What computes the calls of a model version: an engine behind a queue, a graph of other models, and so on. */
export interface Executor {
  /** Calls that wait. */
  readonly waiting: number;
  /** Runs that are under way. */
  readonly running: number;
  /** Where calls run, for logs. */
  readonly placement: string;
  /** Memory that the model was seen to take when it loaded, in bytes; 0 if that is not known. */
  readonly memoryBytes: number;
  /**
   * Set if answers depend on more than the loaded version itself, such as the models that an ensemble is made
   * of: a text that changes whenever that does.
   *
   * @throws TensorwireError if one of those models is not loaded
   */
  readonly identity?: (() => string) | undefined;
  /** Set for a model with sequences. */
  readonly sequences?: SequenceCounts | undefined;
  /**
   * Computes a call: before it returns, if it can without holding up others. Outputs own their memory.
   *
   * @throws TensorwireError
   */
  execute(call: CallAbort, tensors: TensorCall): Execution | Promise<Execution>;
  /**
   * Set for a decoupled model: computes a call with any number of answers. Ending the iteration ends the
   * work.
   */
  readonly stream?: (call: CallAbort, tensors: TensorCall) => AsyncIterable<Execution>;
  /** Set for models that may generate text: what they did so far; `undefined` if this one does not. */
  readonly generations?: () => GenerationSnapshot | undefined;
  /** Resolves once nothing runs or waits. */
  idle(): Promise<void>;
  /** Frees what the model holds; call {@link idle} before. */
  release(): Promise<void>;
}
