import { queueFull, queueTimeout } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { abortError } from "../abort-error.ts";
import type { EngineResult } from "../engines/engine.ts";
import { AnswerOrder, type AnswerPlace } from "./answer-order.ts";
import { type BatchPolicy, decideBatch } from "./batch-policy.ts";
import { canJoin, hasPlainRows, haveRows, joinRows, rowsOf, takeRows } from "./batch-tensors.ts";
import { levelOf, policyOf, type QueuePolicies, waitLimit } from "./queue-policy.ts";
import { type Lined, WaitingLine } from "./waiting-line.ts";

/** What a call asks of the model. */
export interface ScheduledCall<D = undefined> {
  readonly inputs: readonly Tensor[];
  readonly outputNames: readonly string[];
  /** Level that it asks for; 0 for the default. */
  readonly priority: number;
  /** Time that it is ready to wait for the model, in ms; 0 for what the policy says. */
  readonly timeoutMs: number;
  /** What the run is told of the call. */
  readonly detail: D;
  /** True if it must not share a run. */
  readonly alone: boolean;
}

/** A run that the model has. */
export interface RunUnderWay<D> {
  /** Of its calls, in order. */
  readonly details: readonly D[];
  /** Calls back once nobody waits for its answers any more. */
  onGone(listener: () => void): void;
}

/** What one call gets of a run. */
export interface ScheduledResult extends EngineResult {
  /** When the run was given to the model, in ms on the monotonic clock. */
  readonly startedMs: number;
  /** Rows of the run, on the first of its calls; 0 on the others, so that each run counts once. */
  readonly runRows: number;
}

/** Computes a run, before it returns or later. */
export type Run<D> = (
  inputs: readonly Tensor[],
  outputNames: readonly string[],
  run: RunUnderWay<D>,
) => EngineResult | Promise<EngineResult>;

/** How calls of a model are put into runs. */
export interface Schedule {
  /** `undefined` runs each call on its own. */
  readonly batch: BatchPolicy | undefined;
  readonly queue: QueuePolicies;
  /** Answers in the order of arrival, also where several runs are under way at once. */
  readonly preserveOrder: boolean;
}

/** What a {@link Scheduler} acts on; tests give their own clock. */
export interface SchedulerOptions<D = undefined> extends Schedule {
  /** Name of the model, for messages. */
  readonly model: string;
  /** Runs that the model is given at once. */
  readonly slots: number;
  /** Calls that may wait. */
  readonly limit: number;
  readonly run: Run<D>;
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** Calls `action` at the end of the turn of the event loop: when all calls of the turn have come. */
  readonly atTurnEnd: (action: () => void) => void;
  /** Calls `action` after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

interface Waiting<D> extends Omit<ScheduledCall<D>, "alone">, Lined {
  readonly call: CallAbort;
  readonly rows: number;
  readonly place: AnswerPlace | undefined;
  readonly resolve: (result: ScheduledResult) => void;
  readonly reject: (error: unknown) => void;
  /** Nobody waits for the answer any more. */
  gone: boolean;
  /** It shares no run: its rows are not to be told from those of others, or a run with it failed. */
  alone: boolean;
  /** Set while the model has it. */
  run: StartedRun<D> | undefined;
}

/** A run, until its last call has left. */
class StartedRun<D> implements RunUnderWay<D> {
  readonly #calls: readonly Waiting<D>[];
  #listener: (() => void) | undefined;

  constructor(calls: readonly Waiting<D>[]) {
    this.#calls = calls;
  }

  get details(): readonly D[] {
    return this.#calls.map(({ detail }) => detail);
  }

  onGone(listener: () => void): void {
    this.#listener = listener;
  }

  /** One of its calls has left. */
  left(): void {
    if (this.#calls.every(({ gone }) => gone)) this.#listener?.();
  }
}

/**
 * Gives a model its calls: by priority, within a level in the order of their arrival, each on its own or
 * gathered into batches. A batch holds what comes in one turn of the event loop, what comes while the model
 * runs, and with a delay what comes within it. Only calls with the same inputs, but for the number of
 * rows, and the same outputs share one; the first that differs closes it. When a batch fails its calls are
 * run one by one, so that each gets its own error. A call that is cancelled or past its deadline leaves at
 * once, as does one that has waited longer than its queue's policy allows.
 */
export class Scheduler<D = undefined> {
  readonly #options: SchedulerOptions<D>;
  readonly #line: WaitingLine<Waiting<D>>;
  readonly #order: AnswerOrder | undefined;
  #running = 0;
  #turnPending = false;
  /** Set while calls are sent, so that a run that ends at once does not send from within. */
  #sending = false;
  #cancelDelay: (() => void) | undefined;
  #cancelExpiry: (() => void) | undefined;
  /** When the timer of the first expiry is due, in ms. */
  #expiryMs = Number.POSITIVE_INFINITY;
  #onIdle: (() => void)[] = [];

  constructor(options: SchedulerOptions<D>) {
    this.#options = options;
    this.#line = new WaitingLine(options.queue.levels, options.queue.agingMs);
    this.#order = options.preserveOrder ? new AnswerOrder() : undefined;
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#line.size;
  }

  /** Runs that the model has. */
  get running(): number {
    return this.#running;
  }

  /** True if nothing runs or waits. */
  get isIdle(): boolean {
    return this.#running === 0 && this.#line.size === 0;
  }

  /**
   * Answers a call with its rows of a run.
   *
   * @throws TensorwireError `QUEUE_FULL`, `QUEUE_TIMEOUT`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what
   * the run threw
   */
  run(call: CallAbort, asked: ScheduledCall<D>): Promise<ScheduledResult> {
    const { inputs } = asked;
    const { model, limit, now, queue, batch } = this.#options;
    if (call.aborted) return Promise.reject(abortError(call, "before the call reached the model"));
    const level = levelOf(queue, asked.priority);
    const policy = policyOf(queue, level);
    const fits = batch !== undefined || this.#running < this.#options.slots;
    if (this.#line.size >= limit && !(fits && this.#line.size === 0)) {
      return Promise.reject(queueFull(model, limit));
    }
    if (policy.maxSize > 0 && this.#line.sizeOf(level) >= policy.maxSize) {
      return Promise.reject(queueFull(model, policy.maxSize, queue.levels > 1 ? level : undefined));
    }
    const arrivedMs = now();
    const wait = waitLimit(policy, asked.timeoutMs);
    return new Promise((resolve, reject) => {
      const entry: Waiting<D> = {
        ...asked,
        level,
        call,
        rows: rowsOf(inputs),
        place: this.#order?.take(),
        arrivedMs,
        expiresMs: wait > 0 ? arrivedMs + wait : Number.POSITIVE_INFINITY,
        resolve,
        reject,
        gone: false,
        alone: asked.alone || batch === undefined || !hasPlainRows(inputs),
        run: undefined,
        list: undefined,
        previous: undefined,
        next: undefined,
      };
      this.#line.push(entry);
      call.onAbort(() => this.#leave(entry));
      if (batch) this.#lookAtTurnEnd();
      else this.#send();
      if (entry.list && wait > 0) this.#expectExpiry(entry.expiresMs);
    });
  }

  /** Resolves once nothing runs or waits. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #leave(entry: Waiting<D>): void {
    if (entry.gone) return;
    const waited = this.#line.remove(entry);
    const where = waited ? "while the call waited for the model" : "while the model ran";
    this.#reject(entry, abortError(entry.call, where));
    if (waited) this.#shortened();
    else entry.run?.left();
  }

  /** The line became shorter otherwise than by a run. */
  #shortened(): void {
    if (this.#line.size === 0) this.#stopTimers();
    this.#settled();
  }

  #resolve(entry: Waiting<D>, result: ScheduledResult): void {
    entry.gone = true;
    entry.call.onAbort(undefined);
    if (entry.place) this.#order?.settle(entry.place, () => entry.resolve(result));
    else entry.resolve(result);
  }

  #reject(entry: Waiting<D>, error: unknown): void {
    entry.gone = true;
    entry.call.onAbort(undefined);
    // An error waits for nobody; its place is free for those behind it.
    entry.reject(error);
    if (entry.place) this.#order?.settle(entry.place, () => {});
  }

  #stopTimers(): void {
    this.#stopDelay();
    this.#cancelExpiry?.();
    this.#cancelExpiry = undefined;
    this.#expiryMs = Number.POSITIVE_INFINITY;
  }

  #stopDelay(): void {
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
  }

  #lookAtTurnEnd(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    this.#options.atTurnEnd(() => {
      this.#turnPending = false;
      this.#send();
    });
  }

  #expectExpiry(atMs: number): void {
    if (atMs >= this.#expiryMs) return;
    this.#cancelExpiry?.();
    this.#expiryMs = atMs;
    const wait = Math.max(atMs - this.#options.now(), 0);
    this.#cancelExpiry = this.#options.after(wait, () => this.#expire());
  }

  /** Refuses or puts back the calls that waited too long, and looks for the next that will have. */
  #expire(): void {
    this.#cancelExpiry = undefined;
    this.#expiryMs = Number.POSITIVE_INFINITY;
    const { model, now, queue } = this.#options;
    const nowMs = now();
    let nextMs = Number.POSITIVE_INFINITY;
    const late: Waiting<D>[] = [];
    this.#line.visit(nowMs, (entry) => {
      if (entry.expiresMs <= nowMs) late.push(entry);
      else nextMs = Math.min(nextMs, entry.expiresMs);
      return true;
    });
    for (const entry of late) {
      if (policyOf(queue, entry.level).onTimeout === "delay") {
        entry.expiresMs = Number.POSITIVE_INFINITY;
        this.#line.delay(entry);
      } else {
        this.#line.remove(entry);
        this.#reject(entry, queueTimeout(model, nowMs - entry.arrivedMs));
      }
    }
    if (nextMs < Number.POSITIVE_INFINITY) this.#expectExpiry(nextMs);
    if (late.length > 0) this.#shortened();
  }

  /** Gives the model what it may have now. */
  #send(): void {
    if (this.#sending) return;
    this.#sending = true;
    try {
      this.#sendAll();
    } finally {
      this.#sending = false;
    }
  }

  #sendAll(): void {
    this.#stopDelay();
    const { batch, slots, now, after } = this.#options;
    while (this.#running < slots && this.#line.size > 0) {
      const nowMs = now();
      const { alike, closed } = this.#gather(nowMs);
      let calls = 1;
      if (batch) {
        const rows = alike.map((entry) => entry.rows);
        const waitedMs = nowMs - Math.min(...alike.map(({ arrivedMs }) => arrivedMs));
        const decision = decideBatch(batch, rows, closed, waitedMs);
        if (decision.kind === "wait") {
          this.#cancelDelay = after(decision.ms, () => {
            this.#cancelDelay = undefined;
            this.#send();
          });
          return;
        }
        calls = decision.calls;
      }
      const sent = alike.slice(0, calls);
      for (const entry of sent) this.#line.remove(entry);
      if (this.#line.size === 0) this.#stopTimers();
      this.#start(sent);
    }
  }

  /**
   * The calls that are next and can be one run, and whether another kind of call stands behind them. One more
   * than fits is among them, to show that the batch is full.
   */
  #gather(nowMs: number): { readonly alike: readonly Waiting<D>[]; readonly closed: boolean } {
    const alike: Waiting<D>[] = [];
    const maxRows = this.#options.batch?.maxRows ?? 0;
    let rows = 0;
    let closed = false;
    this.#line.visit(nowMs, (entry) => {
      const [first] = alike;
      if (first && !isAlike(first, entry)) {
        closed = true;
        return false;
      }
      alike.push(entry);
      rows += entry.rows;
      closed = entry.alone;
      return !entry.alone && rows <= maxRows;
    });
    return { alike, closed };
  }

  #start(batch: readonly Waiting<D>[]): void {
    const { run, now } = this.#options;
    const startedMs = now();
    let result: EngineResult | Promise<EngineResult>;
    const started = new StartedRun(batch);
    for (const entry of batch) entry.run = started;
    this.#running++;
    try {
      const inputs =
        batch.length === 1 ? batch[0]!.inputs : joinRows(batch.map((each) => each.inputs));
      result = run(inputs, batch[0]!.outputNames, started);
    } catch (error) {
      this.#fail(batch, error);
      return;
    }
    if (result instanceof Promise) {
      result.then(
        (value) => this.#answer(batch, value, startedMs),
        (error: unknown) => this.#fail(batch, error),
      );
    } else this.#answer(batch, result, startedMs);
  }

  #answer(batch: readonly Waiting<D>[], result: EngineResult, startedMs: number): void {
    const { outputs, inferNs } = result;
    let total = 0;
    for (const { rows } of batch) total += rows;
    if (batch.length > 1 && !haveRows(outputs, total)) {
      const shapes = outputs.map(({ name, shape }) => `${name} [${shape}]`).join(", ");
      this.#fail(batch, new Error(`a batch of ${total} rows gave ${shapes}`));
      return;
    }
    let start = 0;
    let runRows = total;
    for (const entry of batch) {
      const own = batch.length === 1 ? outputs : takeRows(outputs, start, entry.rows, total);
      start += entry.rows;
      if (entry.gone) continue;
      this.#resolve(entry, { outputs: own, inferNs, startedMs, runRows });
      runRows = 0;
    }
    this.#ended();
  }

  #fail(batch: readonly Waiting<D>[], error: unknown): void {
    const left = batch.filter(({ gone }) => !gone);
    if (batch.length > 1) {
      for (const entry of left.toReversed()) {
        entry.alone = true;
        entry.expiresMs = Number.POSITIVE_INFINITY;
        this.#line.putBack(entry);
      }
    } else for (const entry of left) this.#reject(entry, error);
    this.#ended();
  }

  #ended(): void {
    this.#running--;
    if (this.#line.size > 0) {
      if (this.#options.batch) this.#lookAtTurnEnd();
      else this.#send();
    }
    this.#settled();
  }

  #settled(): void {
    if (!this.isIdle) return;
    const listeners = this.#onIdle;
    this.#onIdle = [];
    for (const listener of listeners) listener();
  }
}

function isAlike(one: Waiting<unknown>, other: Waiting<unknown>): boolean {
  if (one.alone || other.alone) return false;
  const names = one.outputNames;
  if (names.length !== other.outputNames.length) return false;
  for (let index = 0; index < names.length; index++) {
    if (names[index] !== other.outputNames[index]) return false;
  }
  return canJoin(one.inputs, other.inputs);
}
