import type { Tensor } from "../../tensor/tensor.ts";
import type { EngineModel, EngineResult } from "../engines/engine.ts";
import type { Executor } from "../executor.ts";
import type { RunUnderWay } from "../scheduling/scheduler.ts";
import type { StepDetail, StepParameters } from "./step.ts";

/** What computes the runs of a model with sequences. */
export interface SequenceEngine {
  readonly instances: number;
  /** Runs that an instance computes at once. */
  readonly runsPerInstance: number;
  readonly placement: string;
  readonly memoryBytes: number;
  /**
   * What becomes of the calls of a run that failed. A model that keeps nothing between runs computes them again,
   * one by one; one that may have seen them does not.
   */
  readonly afterFailure: "run one by one" | "fail";
  /** True if a call may have any number of answers. */
  readonly decoupled: boolean;
  /** As of an executor. */
  readonly generations?: Executor["generations"];
  /** Whether a call with these parameters shares no run. */
  readonly isSolo: (parameters: StepParameters) => boolean;
  /** Computes a run on an instance. */
  run(
    instance: number,
    inputs: readonly Tensor[],
    outputNames: readonly string[],
    run: RunUnderWay<StepDetail>,
  ): EngineResult | Promise<EngineResult>;
  /** Sets who is told of an instance that ended and has forgotten its sequences, and when it is back. */
  onChange(listener: (instance: number, state: "lost" | "back") => void): void;
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
    afterFailure: "run one by one",
    decoupled: false,
    isSolo: () => false,
    run: (_, inputs, outputNames) =>
      engine.runNow(inputs, outputNames) ?? engine.run(inputs, outputNames),
    onChange() {},
    release: () => engine.release(),
  };
}
