import type { EngineResult } from "../../../server/predictor/engines/engine.ts";
import type { BatchPolicy } from "../../../server/predictor/scheduling/batch-policy.ts";
import {
  plainQueue,
  type QueuePolicies,
} from "../../../server/predictor/scheduling/queue-policy.ts";
import { type ScheduledResult, Scheduler } from "../../../server/predictor/scheduling/scheduler.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";
import { localCall } from "../../support/call-context.ts";
import { virtualClock } from "../../support/virtual-clock.ts";

/** A value on which {@link Doubler} fails. */
export const poison = -1;

/** A tensor with a row for each value. */
export function input(values: readonly number[], width = 1): Tensor[] {
  const data = Float64Array.from(values.flatMap((value) => Array<number>(width).fill(value)));
  return [
    {
      name: "x",
      datatype: "FP64",
      shape: [values.length, width],
      bytes: new Uint8Array(data.buffer),
    },
  ];
}

/** The value of each row. */
export function valuesOf(tensors: readonly Tensor[]): number[] {
  const [tensor] = tensors;
  const bytes = Uint8Array.from(tensor!.bytes!);
  const width = tensor!.shape[1]!;
  return [...new Float64Array(bytes.buffer)].filter((_, index) => index % width === 0);
}

/** A model that doubles its rows, fails on a poisoned one, and ends runs when the test says so. */
export class Doubler {
  readonly batches: number[][] = [];
  readonly open: (() => void)[] = [];
  immediate = false;
  /** Told of a run when it begins. */
  began: (values: readonly number[]) => void = () => {};

  run(inputs: readonly Tensor[]): EngineResult | Promise<EngineResult> {
    const values = valuesOf(inputs);
    this.batches.push(values);
    this.began(values);
    const answer = (): EngineResult => {
      if (values.includes(poison)) throw new Error("poisoned");
      const width = inputs[0]!.shape[1]!;
      return {
        outputs: input(
          values.map((value) => value * 2),
          width,
        ),
        inferNs: 1,
      };
    };
    if (this.immediate) return answer();
    return new Promise((resolve, reject) => {
      this.open.push(() => {
        try {
          resolve(answer());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

/** What a scheduler of a test has beside its batches. */
export interface Surroundings {
  readonly slots?: number;
  readonly limit?: number;
  readonly queue?: Partial<QueuePolicies>;
  readonly preserveOrder?: boolean;
}

/**
 * A scheduler on a virtual clock before a {@link Doubler}.
 *
 * @param policy - `null` for no batches
 */
export function start(
  policy: Partial<BatchPolicy> | null = {},
  { slots = 1, limit = 1000, queue = {}, preserveOrder = false }: Surroundings = {},
) {
  const clock = virtualClock();
  const model = new Doubler();
  const turnEnds: (() => void)[] = [];
  const batcher = new Scheduler({
    model: "m",
    batch:
      policy === null ? undefined : { maxRows: 8, preferredRows: [], maxDelayMs: 0, ...policy },
    queue: { ...plainQueue, ...queue },
    preserveOrder,
    slots,
    limit,
    run: (inputs) => model.run(inputs),
    now: clock.now,
    after: clock.after,
    atTurnEnd: (action) => turnEnds.push(action),
  });
  const endTurn = (): void => {
    for (const action of turnEnds.splice(0)) action();
  };
  return { clock, model, batcher, endTurn };
}

/** Lets promises settle. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}

/** A call, and how it ended. */
export class Call {
  readonly abort = new AbortController();
  readonly values: readonly number[];
  ends = 0;
  outcome: string | undefined;
  result: ScheduledResult | undefined;

  constructor(
    batcher: Scheduler,
    values: readonly number[],
    width = 1,
    { priority = 0, timeoutMs = 0, alone = false, ended = () => {} } = {},
  ) {
    this.values = values;
    batcher
      .run(localCall(this.abort.signal), {
        inputs: input(values, width),
        outputNames: ["y"],
        priority,
        timeoutMs,
        detail: undefined,
        alone,
      })
      .finally(ended)
      .then(
        (result) => {
          this.ends++;
          this.result = result;
          const right = valuesOf(result.outputs).join() === values.map((value) => value * 2).join();
          this.outcome = right ? "answered" : "answered wrongly";
        },
        (error: Error & { reason?: string }) => {
          this.ends++;
          this.outcome = error.reason ?? error.message;
        },
      );
  }
}
