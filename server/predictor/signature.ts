import type { Datatype } from "../tensor/datatype.ts";

/** An input or output as a model declares it. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  /** All dimensions, the batch dimension included where there is one; -1 is any size. */
  readonly shape: readonly number[];
  /** True for an input that a call may leave out. */
  readonly optional: boolean;
  /** Class names of the last dimension, empty without. */
  readonly labels: readonly string[];
}

/** What a model takes and gives. */
export interface ModelSignature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Rows that one call may hold at most; 0 for a model without a batch dimension. */
  readonly maxBatchSize: number;
}
