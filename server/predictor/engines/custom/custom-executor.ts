import { workerLost } from "../../../errors/model-errors.ts";
import {
  type GenerationSnapshot,
  sumSnapshots,
} from "../../../generation/generation-statistics.ts";
import type { Parameter } from "../../../model/thread-messages.ts";
import type { CallAbort } from "../../../rpc/call-context.ts";
import { answerStream } from "../../answer-stream.ts";
import type { Execution, Executor, TensorCall } from "../../executor.ts";
import { type RunUnderWay, type Schedule, Scheduler } from "../../scheduling/scheduler.ts";
import { afterMs, atTurnEnd } from "../../turn-end.ts";
import type { EngineResult } from "../engine.ts";
import type { ModelThread, ThreadCall } from "./model-thread.ts";
import { ownParameters } from "./own-parameters.ts";
import { runInThread, type TakeAnswer } from "./run-in-thread.ts";

/** What a run is told of a call. */
interface Detail {
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** Takes the answers of a decoupled call. */
  readonly stream: TakeAnswer | undefined;
}

/** A model in TypeScript behind its queue: each thread has some calls at once, the others wait. */
export class CustomExecutor implements Executor {
  readonly placement: string;
  readonly memoryBytes: number;
  readonly stream: Executor["stream"];
  readonly #model: string;
  readonly #threads: readonly ModelThread[];
  readonly #scheduler: Scheduler<Detail>;
  readonly #batches: boolean;

  /**
   * @param threads - instances of the model, at least one
   * @param limit - calls that may wait
   * @param memoryBytes - that the threads were seen to take when they started
   */
  constructor(
    model: string,
    threads: readonly ModelThread[],
    schedule: Schedule,
    limit: number,
    memoryBytes: number,
  ) {
    const { concurrency, decoupled } = threads[0]!.model;
    this.#model = model;
    this.#threads = threads;
    this.memoryBytes = memoryBytes;
    this.#batches = schedule.batch !== undefined;
    this.placement = threads.length === 1 ? "thread" : `${threads.length} threads`;
    this.#scheduler = new Scheduler<Detail>({
      ...schedule,
      model,
      slots: concurrency * threads.length,
      limit,
      run: (inputs, outputNames, run) => this.#run({ inputs, outputNames }, run),
      now: () => performance.now(),
      atTurnEnd,
      after: afterMs,
    });
    if (decoupled) {
      this.stream = (call, tensors) =>
        answerStream(call, (child, take) => this.#schedule(child, tensors, take));
    }
  }

  get waiting(): number {
    return this.#scheduler.waiting;
  }

  get running(): number {
    return this.#scheduler.running;
  }

  generations(): GenerationSnapshot | undefined {
    return sumSnapshots(this.#threads.flatMap(({ generations }) => generations ?? []));
  }

  async execute(call: CallAbort, tensors: TensorCall): Promise<Execution> {
    const result = await this.#schedule(call, tensors, undefined);
    return this.#batches ? result : { ...result, runRows: tensors.rows };
  }

  idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  async release(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #schedule(
    call: CallAbort,
    { inputs, outputNames, options }: TensorCall,
    stream: Detail["stream"],
  ): Promise<Execution> {
    const parameters = ownParameters(options.parameters);
    return this.#scheduler.run(call, {
      inputs,
      outputNames,
      priority: options.priority,
      timeoutMs: options.timeoutMs,
      detail: { parameters, stream },
      // What a call says besides its tensors is for that call only.
      alone: Object.keys(parameters).length > 0,
    });
  }

  #run(call: Omit<ThreadCall, "parameters">, run: RunUnderWay<Detail>): Promise<EngineResult> {
    // Those that share a run have no parameters.
    const { parameters, stream } = run.details[0]!;
    return runInThread(this.#emptiest(), { ...call, parameters }, stream, run);
  }

  /** The instance that has the fewest calls, of those that are up. */
  #emptiest(): ModelThread {
    let best: ModelThread | undefined;
    for (const thread of this.#threads) {
      if (thread.isReady && (!best || thread.calls < best.calls)) best = thread;
    }
    if (!best) throw workerLost(this.#model);
    return best;
  }
}
