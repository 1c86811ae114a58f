import { queueFull } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { abortError } from "../abort-error.ts";
import { toNs } from "../duration.ts";
import type { Execution, Executor, TensorCall } from "../executor.ts";
import type { ModelStatistics } from "../model-statistics.ts";
import { AnswerOrder } from "../scheduling/answer-order.ts";
import { cacheKey, cacheKeyLater, isLarge } from "./cache-key.ts";
import { copyTensors, ownTensors } from "./kept-tensors.ts";
import type { CacheShelf } from "./response-cache.ts";
import { SharedRun } from "./shared-run.ts";

/** What a {@link CachedExecutor} is made of. */
export interface CachedExecutorOptions {
  /** Name of the model, for messages. */
  readonly model: string;
  readonly executor: Executor;
  /** Hits and misses are counted here. */
  readonly statistics: Pick<ModelStatistics, "cacheHit" | "cacheMiss">;
  /** For the answers of this load of the model version; closed with the executor. */
  readonly shelf: CacheShelf;
  /** Calls that may wait for the runs of others. */
  readonly limit: number;
  /** Whether calls are answered in the order in which they came, hits too. */
  readonly preserveOrder: boolean;
  /** Monotonic clock in ms. */
  readonly now: () => number;
}

/**
 * A model behind a cache of its answers. A call that equals one under way waits for the same run; answers of
 * runs that succeed are kept. Calls that differ in priority or in the time that they are ready to wait share
 * answers, but no run: one must not be refused by another's haste.
 */
export class CachedExecutor implements Executor {
  readonly identity: Executor["identity"];
  readonly generations: Executor["generations"];
  readonly #options: CachedExecutorOptions;
  readonly #order: AnswerOrder | undefined;
  readonly #runs = new Map<string, SharedRun>();
  /** Calls whose keys are being made, turn by turn. */
  readonly #keys = new Set<Promise<unknown>>();
  /** Calls that wait for a run. */
  #waiters = 0;
  readonly #onWaiters = (change: number): void => {
    this.#waiters += change;
  };

  constructor(options: CachedExecutorOptions) {
    this.#options = options;
    const { executor } = options;
    if (executor.identity) this.identity = () => executor.identity!();
    if (executor.generations) this.generations = () => executor.generations!();
    this.#order = options.preserveOrder ? new AnswerOrder() : undefined;
  }

  get waiting(): number {
    return this.#options.executor.waiting + this.#followers;
  }

  /** Those for whom the model has no call of its own: one of each run has it. */
  get #followers(): number {
    return this.#waiters - this.#runs.size;
  }

  get running(): number {
    return this.#options.executor.running;
  }

  get placement(): string {
    return this.#options.executor.placement;
  }

  get memoryBytes(): number {
    return this.#options.executor.memoryBytes;
  }

  /** @throws TensorwireError `QUEUE_FULL`, and what the executor throws */
  execute(call: CallAbort, tensors: TensorCall): Execution | Promise<Execution> {
    return this.#order
      ? this.#executeInOrder(this.#order, call, tensors)
      : this.#execute(call, tensors);
  }

  async idle(): Promise<void> {
    // A call whose key is being made is not with the model yet.
    while (this.#keys.size > 0) await Promise.allSettled(this.#keys);
    await this.#options.executor.idle();
  }

  release(): Promise<void> {
    this.#options.shelf.close();
    return this.#options.executor.release();
  }

  #execute(call: CallAbort, tensors: TensorCall): Execution | Promise<Execution> {
    const { executor, now } = this.#options;
    const startedMs = now();
    const identity = identityOf(executor);
    if (identity === undefined || call.aborted) return executor.execute(call, tensors);
    if (!isLarge(tensors))
      return this.#answer(call, tensors, cacheKey(tensors, identity), startedMs);
    return this.#answerLater(call, tensors, cacheKeyLater(tensors, identity), startedMs);
  }

  async #answerLater(
    call: CallAbort,
    tensors: TensorCall,
    made: Promise<string>,
    startedMs: number,
  ): Promise<Execution> {
    // In an object the answer is not waited for: the key is made, and the model has the call.
    const begun = made.then((key) => {
      if (call.aborted) throw abortError(call, "before the call reached the model");
      return { answer: this.#answer(call, tensors, key, startedMs) };
    });
    this.#keys.add(begun);
    let answer: Execution | Promise<Execution>;
    try {
      ({ answer } = await begun);
    } finally {
      this.#keys.delete(begun);
    }
    return answer;
  }

  #answer(
    call: CallAbort,
    tensors: TensorCall,
    key: string,
    startedMs: number,
  ): Execution | Promise<Execution> {
    const { shelf, model, limit, now, statistics } = this.#options;
    const { cacheHit } = statistics;
    const outputs = shelf.find(key);
    if (outputs) {
      cacheHit.add(toNs(now() - startedMs));
      return { outputs, inferNs: 0, startedMs, runRows: 0, fromCache: true };
    }
    const { priority, timeoutMs } = tensors.options;
    const runKey = priority === 0 && timeoutMs === 0 ? key : `${key} ${priority} ${timeoutMs}`;
    const shared = this.#runs.get(runKey);
    if (!shared) return this.#run(call, tensors, key, runKey, startedMs);
    if (this.#followers >= limit) throw queueFull(model, limit);
    cacheHit.add(toNs(now() - startedMs));
    return shared.join(call);
  }

  #run(
    call: CallAbort,
    tensors: TensorCall,
    key: string,
    runKey: string,
    startedMs: number,
  ): Execution | Promise<Execution> {
    const { executor, shelf, now } = this.#options;
    const { cacheMiss } = this.#options.statistics;
    const end = (): boolean => this.#runs.get(runKey) === run && this.#runs.delete(runKey);
    const run = new SharedRun({ now, onWaiters: this.#onWaiters, onEmpty: end });
    // The run may go on when this call, and the message that its inputs lie in, is gone.
    const inputs = copyTensors(tensors.inputs);
    cacheMiss.add(toNs(now() - startedMs));
    const keep = (execution: Execution): Execution => {
      const keptMs = now();
      const outputs = ownTensors(execution.outputs);
      shelf.keep(key, outputs);
      cacheMiss.ns += toNs(now() - keptMs);
      return { ...execution, outputs };
    };
    const result = executor.execute(run, { ...tensors, inputs });
    if (!(result instanceof Promise)) return keep(result);
    this.#runs.set(runKey, run);
    result.then(
      (execution) => {
        // One that nobody waits for may have been cut short.
        if (end()) run.succeed(keep(execution));
      },
      (error: unknown) => {
        if (end()) run.fail(error);
      },
    );
    return run.join(call);
  }

  /** As {@link Scheduler} keeps the order: an error waits for nobody. */
  #executeInOrder(order: AnswerOrder, call: CallAbort, tensors: TensorCall): Promise<Execution> {
    const place = order.take();
    return new Promise((resolve, reject) => {
      const refuse = (error: unknown): void => {
        reject(error);
        order.settle(place, () => {});
      };
      let answer: Execution | Promise<Execution>;
      try {
        answer = this.#execute(call, tensors);
      } catch (error) {
        refuse(error);
        return;
      }
      if (answer instanceof Promise) {
        answer.then((execution) => order.settle(place, () => resolve(execution)), refuse);
      } else {
        const execution = answer;
        order.settle(place, () => resolve(execution));
      }
    });
  }
}

/** `undefined` if it cannot be told. */
function identityOf({ identity }: Executor): string | undefined {
  if (!identity) return "";
  try {
    return identity();
  } catch {
    // A model that the answer depends on is not loaded: the run will say which.
    return undefined;
  }
}
