import type { Tensor } from "../../tensor/tensor.ts";
import type { EngineModel, EngineResult } from "../engines/engine.ts";
import type { RunUnderWay } from "../scheduling/scheduler.ts";
import type { StepParameters } from "./step.ts";

/** What computes the runs of a model with sequences. */
export interface SequenceEngine {
  readonly instances: number;
  /** Runs that an instance computes at once. */
  readonly runsPerInstance: number;
  readonly placement: string;
  readonly memoryBytes: number;
  /**
   * What a failed run means. A model that keeps nothing between runs can compute its calls again, one by one;
   * one that may have seen them cannot; and one that has ended has lost its sequences.
   */
  readonly afterFailure: (error: unknown) => "run one by one" | "fail" | "lose sequences";
  /** Whether a call with these parameters shares no run. */
  readonly isSolo: (parameters: StepParameters) => boolean;
  /** Computes a run on an instance. */
  run(
    instance: number,
    inputs: readonly Tensor[],
    outputNames: readonly string[],
    run: RunUnderWay<StepParameters>,
  ): EngineResult | Promise<EngineResult>;
  /** Called with an instance that has forgotten what it knew of its sequences. */
  onLost(listener: (instance: number) => void): void;
  release(): Promise<void>;
}

/** An engine whose instances keep nothing between runs, so that any of them computes any. */
export function statelessEngine(engine: EngineModel): SequenceEngine {
  return {
    instances: engine.instances,
    // The next call of a sequence needs the states that the one before it gave.
    runsPerInstance: 1,
    get placement() {
      return engine.placement;
    },
    get memoryBytes() {
      return engine.memoryBytes;
    },
    afterFailure: () => "run one by one",
    isSolo: () => false,
    run: (_, inputs, outputNames) =>
      engine.runNow(inputs, outputNames) ?? engine.run(inputs, outputNames),
    onLost() {},
    release: () => engine.release(),
  };
}
