/** Tokens that a row of the cache goes on by. */
export interface RowStep {
  /** Which row, from 0. */
  readonly slot: number;
  /** At least one; the row's earlier tokens are those of its earlier steps. */
  readonly tokens: readonly number[];
}

/**
 * A model that continues several texts at once, each in a row of a cache. One step runs at a time.
 *
 * What it answers for a row must not depend on the other rows of the step, other than by rounding.
 */
export interface StepModel {
  /** Rows of the cache. */
  readonly slots: number;
  /** Tokens that a row has room for. */
  readonly contextLength: number;
  /** Number of logits. */
  readonly vocabularySize: number;
  /**
   * Computes the tokens of some rows, each at most once, and keeps what later steps need.
   *
   * @returns for each of the rows, in their order, the logits after its last token, which the caller may
   *   read until the next step, or why that row failed
   * @throws whatever fails all rows
   */
  step(rows: readonly RowStep[]): Promise<readonly (Float32Array | Error)[]>;
  /** Forgets a row, whatever state a failed step left it in; its next step begins a new text. */
  release(slot: number): void;
}
