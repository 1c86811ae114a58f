import type { EngineResult } from "../../../server/predictor/engines/engine.ts";
import { ControlTensors } from "../../../server/predictor/sequences/control-tensors.ts";
import type { SequenceEngine } from "../../../server/predictor/sequences/sequence-engine.ts";
import type {
  SequencePlan,
  SequenceStrategy,
} from "../../../server/predictor/sequences/sequence-plan.ts";
import { SequenceScheduler } from "../../../server/predictor/sequences/sequence-scheduler.ts";
import { StepTensors } from "../../../server/predictor/sequences/step-tensors.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";
import { localCall } from "../../support/call-context.ts";
import { type VirtualClock, virtualClock } from "../../support/virtual-clock.ts";

/** A run that holds a negative value fails. */
export const poison = -1;

export function int32Tensor(name: string, shape: readonly number[], values: number[]): Tensor {
  const bytes = new Uint8Array(Int32Array.from(values).buffer);
  return { name, datatype: "INT32", shape, bytes };
}

export function int32Values(tensors: readonly Tensor[], name: string): number[] {
  const bytes = tensors.find((tensor) => tensor.name === name)!.bytes!;
  return [...new Int32Array(Uint8Array.from(bytes).buffer)];
}

/** A row of a run as the model saw it; the id is 0 in a row without a call. */
export interface SeenRow {
  readonly id: number;
  readonly ready: boolean;
  readonly start: boolean;
  readonly end: boolean;
  readonly x: number;
  readonly state: number;
}

/** A run that the model has. */
export interface OpenRun {
  readonly instance: number;
  readonly rows: readonly SeenRow[];
  /** Ends it: with sums, or with an error. */
  finish(error?: Error): void;
}

/** Adds x to the state of each row; runs end when the test says so. */
export class SummingEngine implements SequenceEngine {
  readonly placement = "test";
  readonly decoupled = false;
  readonly memoryBytes = 0;
  readonly instances: number;
  readonly runsPerInstance: number;
  readonly open: OpenRun[] = [];
  readonly runs: OpenRun[] = [];
  readonly afterFailure: SequenceEngine["afterFailure"];
  /** Tells of an instance that ended, or is back. */
  change: (instance: number, state: "lost" | "back") => void = () => {};
  released = false;

  constructor(
    instances: number,
    runsPerInstance: number,
    afterFailure: SequenceEngine["afterFailure"],
  ) {
    this.afterFailure = afterFailure;
    this.instances = instances;
    this.runsPerInstance = runsPerInstance;
  }

  isSolo(): boolean {
    return false;
  }

  run(instance: number, inputs: readonly Tensor[]): Promise<EngineResult> {
    const values = (name: string): number[] => int32Values(inputs, name);
    const [x, start, ready, end, id, state] = ["x", "START", "READY", "END", "ID", "s"].map(values);
    const width = x!.length / id!.length;
    const rows = id!.map((each, row) => ({
      id: each,
      ready: ready![row] === 1,
      start: start![row] === 1,
      end: end![row] === 1,
      x: x![row * width]!,
      state: state![row]!,
    }));
    return new Promise((resolve, reject) => {
      const run: OpenRun = {
        instance,
        rows,
        finish: (error) => {
          this.open.splice(this.open.indexOf(run), 1);
          const poisoned = rows.some((row) => row.x < 0);
          if (error || poisoned) {
            reject(error ?? new Error("poisoned"));
            return;
          }
          const sums = rows.map((row) => row.state + row.x);
          const shape = [rows.length, 1];
          const outputs = [int32Tensor("y", shape, sums), int32Tensor("t", shape, sums)];
          resolve({ outputs, inferNs: 1 });
        },
      };
      this.open.push(run);
      this.runs.push(run);
    });
  }

  onChange(listener: (instance: number, state: "lost" | "back") => void): void {
    this.change = listener;
  }

  async release(): Promise<void> {
    this.released = true;
  }
}

function flag(input: string) {
  return {
    input,
    datatype: "INT32",
    no: Uint8Array.of(0, 0, 0, 0),
    yes: Uint8Array.of(1, 0, 0, 0),
  } as const;
}

/** What a test varies. */
export interface Surroundings {
  readonly strategy?: SequenceStrategy;
  readonly instances?: number;
  readonly slots?: number;
  readonly maxRows?: number;
  readonly runsPerInstance?: number;
  readonly limit?: number;
  readonly idleMs?: number;
  readonly stateLimitBytes?: number;
  readonly afterFailure?: SequenceEngine["afterFailure"];
}

export const direct: SequenceStrategy = { kind: "direct", maxDelayMs: 0, minimumUtilization: 0 };

export const oldest: Extract<SequenceStrategy, { readonly kind: "oldest" }> = {
  kind: "oldest",
  batch: { maxRows: 4, preferredRows: [], maxDelayMs: 0 },
  preserveOrder: false,
};

/** A model of sequences with a clock and turns of the event loop that the test moves. */
export interface Sequences {
  readonly clock: VirtualClock;
  readonly engine: SummingEngine;
  readonly scheduler: SequenceScheduler;
  readonly tensors: StepTensors;
  readonly endTurn: () => void;
}

export function startSequences({
  strategy = direct,
  instances = 1,
  slots = 4,
  maxRows = slots,
  runsPerInstance = 1,
  limit = 1000,
  idleMs = 1000,
  stateLimitBytes = 1_000_000,
  afterFailure = "run one by one",
}: Surroundings = {}): Sequences {
  const clock = virtualClock();
  const engine = new SummingEngine(instances, runsPerInstance, afterFailure);
  const plan: SequencePlan = {
    strategy,
    slotsPerInstance: slots,
    maxRows,
    batched: true,
    idleMs,
    controls: {
      start: flag("START"),
      ready: flag("READY"),
      end: flag("END"),
      id: { input: "ID", datatype: "INT32" },
    },
    states: [
      {
        input: "s",
        output: "t",
        datatype: "INT32",
        shape: [1, 1],
        initial: int32Tensor("s", [1, 1], [0]),
      },
    ],
    stateLimitBytes,
  };
  const controls = new ControlTensors(plan);
  const tensors = new StepTensors("m", engine, plan, controls);
  const turnEnds: (() => void)[] = [];
  const scheduler = new SequenceScheduler({
    model: "m",
    plan,
    instances,
    runsPerInstance,
    limit,
    runner: tensors,
    afterFailure: engine.afterFailure,
    now: clock.now,
    after: clock.after,
    atTurnEnd: (action) => turnEnds.push(action),
  });
  engine.onChange((instance, state) => {
    if (state === "lost") scheduler.lose(instance);
    else scheduler.restore(instance);
  });
  const endTurn = (): void => {
    for (const action of turnEnds.splice(0)) action();
  };
  return { clock, engine, scheduler, tensors, endTurn };
}

export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn++) await Promise.resolve();
}

/** What a call says of its sequence. */
export interface Flags {
  readonly start?: boolean;
  readonly end?: boolean;
  readonly timeoutMs?: number;
  /** Elements of x; calls of different widths share no run. */
  readonly width?: number;
}

/** A call of a sequence and how it ended. */
export class SequenceCall {
  readonly abort = new AbortController();
  readonly id: number;
  readonly x: number;
  readonly start: boolean;
  readonly end: boolean;
  readonly arrivedMs: number;
  /** How often it was answered. */
  answers = 0;
  /** Its sum, or the reason of its error. */
  outcome: number | string | undefined;
  runRows = 0;

  constructor(
    { scheduler, clock }: Sequences,
    id: number,
    x: number,
    { start = false, end = false, timeoutMs = 0, width = 1 }: Flags = {},
    answered: (call: SequenceCall) => void = () => {},
  ) {
    this.id = id;
    this.x = x;
    this.start = start;
    this.end = end;
    this.arrivedMs = clock.now();
    const told = (name: string, value: number): Tensor => int32Tensor(name, [1, 1], [value]);
    scheduler
      .run(localCall(this.abort.signal), {
        id: BigInt(id),
        start,
        end,
        inputs: [int32Tensor("x", [1, width], Array<number>(width).fill(x))],
        controls: [
          told("START", start ? 1 : 0),
          told("READY", 1),
          told("END", end ? 1 : 0),
          told("ID", id),
        ],
        outputNames: ["y"],
        timeoutMs,
        parameters: {},
        solo: false,
      })
      .then(
        ({ outputs, runRows }) => {
          this.outcome = int32Values(outputs, "y")[0]!;
          this.runRows = runRows;
        },
        (error: Error & { reason?: string }) => {
          this.outcome = error.reason ?? error.message;
        },
      )
      .then(() => {
        this.answers++;
        answered(this);
      })
      // Whoever was told keeps what was wrong.
      .catch(() => {});
  }
}
