import { fromUnknown, messageOf } from "../errors/from-unknown.ts";
import { generationQueueFull } from "../errors/generation-errors.ts";
import { callAborted, modelExecutionFailed, modelNotReady } from "../errors/model-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type {
  EndReason,
  FinishReason,
  GenerationObservation,
  ObservedEnd,
  ObserveGeneration,
} from "./generation-observation.ts";
import { type Choice, Sampler, type SamplingState } from "./sampler.ts";
import type { RowStep, StepModel } from "./step-model.ts";

/** Time as the loop sees it. */
export interface GenerationClock {
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Does something later; the answer calls it off. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/** A generation as the loop sees it: tokens in, tokens out. */
export interface GenerationTask {
  /** At least one token, and fewer than the model's context. */
  readonly prompt: readonly number[];
  /** From 1 on; the room in the context bounds it too. */
  readonly maxTokens: number;
  readonly sampling: SamplingState;
  /** Time from submission after which it fails, in ms. */
  readonly timeoutMs: number | undefined;
  /**
   * Takes a token, and says whether the text ends with it. What it throws fails this generation only.
   */
  readonly accept: (choice: Choice) => "more" | "stop";
  /** Called once at the end, unless `failed` is; neither may throw. */
  readonly finished: (reason: FinishReason) => void;
  /** Called once at the end, unless `finished` is. */
  readonly failed: (error: TensorwireError) => void;
}

/** How a loop works. */
export interface GenerationLoopOptions {
  readonly model: StepModel;
  /** Name of the model, for messages. */
  readonly name: string;
  /** Generations that may wait for a slot. */
  readonly maxWaiting: number;
  /** Tokens of prompts that a step computes at most, beside one token of each running generation. */
  readonly prefillTokens: number;
  readonly clock: GenerationClock;
  /** Lets everything else of the thread have its turn: messages, cancels, new generations. */
  readonly turn: () => Promise<void>;
  readonly observe: ObserveGeneration;
}

/** Continuous batching of generations over the rows of one model. */
export interface GenerationLoop {
  /**
   * Takes a generation, which begins with the next step if a slot is free, and otherwise waits: first
   * come, first served.
   *
   * @returns what cancels it; that does nothing once it has ended
   * @throws TensorwireError `QUEUE_FULL`, or `MODEL_NOT_READY` after `close`
   */
  submit(task: GenerationTask): () => void;
  /** Fails what waits and runs, takes nothing more, and resolves when no step is under way. */
  close(): Promise<void>;
}

interface Job {
  readonly task: GenerationTask;
  readonly submittedAt: number;
  /** -1 while it waits. */
  slot: number;
  /** Tokens that were computed and are in the cache. */
  computed: number;
  generated: number;
  /** The newest token, which the next step computes; -1 before the first. */
  newest: number;
  tokenAt: number;
  ended: boolean;
  callOffDeadline: () => void;
}

/**
 * Makes a loop. It sleeps while there is nothing to do. Each step computes one token of every running
 * generation, and of prompts as many tokens as `prefillTokens` allows, oldest generation first: a long
 * prompt comes in over several steps, between which the others go on.
 */
export function createGenerationLoop(options: GenerationLoopOptions): GenerationLoop {
  return new Loop(options);
}

class Loop implements GenerationLoop {
  readonly #options: GenerationLoopOptions;
  readonly #sampler: Sampler;
  /** In the order of submission, as the running ones. */
  readonly #waiting = new Set<Job>();
  readonly #running = new Set<Job>();
  readonly #freeSlots: number[];
  /** Jobs of the step under way: their rows are in use even if they end. */
  #stepping: readonly Job[] = [];
  #cells = 0;
  #loop: Promise<void> | undefined;
  #closed = false;
  #promptTokens = 0;
  #generatedTokens = 0;
  #timesToFirstToken: number[] = [];
  #interTokenLatencies: number[] = [];
  #ended: ObservedEnd[] = [];

  constructor(options: GenerationLoopOptions) {
    const { slots, vocabularySize } = options.model;
    this.#options = options;
    this.#sampler = new Sampler(vocabularySize);
    this.#freeSlots = Array.from({ length: slots }, (_, index) => slots - 1 - index);
    // So that the metrics of a model that was never asked are there, as zeros.
    this.#report();
  }

  submit(task: GenerationTask): () => void {
    const { name, maxWaiting, clock } = this.#options;
    if (this.#closed) throw modelNotReady(name, "being unloaded");
    if (this.#freeSlots.length === 0 && this.#waiting.size >= maxWaiting) {
      throw generationQueueFull(name, maxWaiting);
    }
    const job: Job = {
      task,
      submittedAt: clock.now(),
      slot: -1,
      computed: 0,
      generated: 0,
      newest: -1,
      tokenAt: 0,
      ended: false,
      callOffDeadline: () => {},
    };
    this.#waiting.add(job);
    if (task.timeoutMs !== undefined) {
      job.callOffDeadline = clock.after(task.timeoutMs, () => {
        const where =
          job.slot === -1 ? "while it waited for a slot" : `after ${job.generated} tokens`;
        this.#fail(job, callAborted("deadline", where));
        this.#settle();
      });
    }
    this.#settle();
    return () => {
      this.#finish(job, "cancelled");
      this.#settle();
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const job of [...this.#waiting, ...this.#running]) {
      this.#fail(job, modelNotReady(this.#options.name, "being unloaded"));
    }
    this.#settle();
    await this.#loop;
  }

  /** Gives free slots to those who wait, tells the observer, and wakes the loop. */
  #settle(): void {
    for (const job of this.#waiting) {
      const slot = this.#freeSlots.pop();
      if (slot === undefined) break;
      this.#waiting.delete(job);
      job.slot = slot;
      this.#running.add(job);
    }
    this.#report();
    if (this.#running.size > 0) this.#loop ??= this.#run();
  }

  async #run(): Promise<void> {
    while (this.#running.size > 0) {
      await this.#options.turn();
      await this.#step();
    }
    this.#loop = undefined;
  }

  async #step(): Promise<void> {
    const { model, clock } = this.#options;
    const jobs: Job[] = [];
    const rows: RowStep[] = [];
    let room = this.#options.prefillTokens;
    for (const job of this.#running) {
      const { prompt } = job.task;
      const left = prompt.length - job.computed;
      if (left > 0 && room === 0) continue;
      const end = job.computed + Math.min(left, room);
      const tokens = left > 0 ? prompt.slice(job.computed, end) : [job.newest];
      if (left > 0) room -= tokens.length;
      jobs.push(job);
      rows.push({ slot: job.slot, tokens });
    }
    if (jobs.length === 0) return;
    this.#stepping = jobs;
    try {
      const answers = await model.step(rows);
      if (answers.length !== rows.length) {
        throw new RangeError(`a step of ${rows.length} rows gave ${answers.length} answers`);
      }
      const now = clock.now();
      jobs.forEach((job, index) => {
        const answer = answers[index]!;
        if (answer instanceof Error) this.#fail(job, this.#stepFailure(answer));
        else this.#advance(job, rows[index]!.tokens.length, answer, now);
      });
    } catch (thrown) {
      const failure = this.#stepFailure(thrown);
      for (const job of jobs) this.#fail(job, failure);
    }
    this.#stepping = [];
    for (const job of jobs) if (job.ended) this.#unseat(job);
    this.#settle();
  }

  #advance(job: Job, tokens: number, logits: Float32Array, now: number): void {
    const { prompt, maxTokens, sampling, accept } = job.task;
    this.#cells += tokens;
    if (job.computed < prompt.length) this.#promptTokens += tokens;
    job.computed += tokens;
    if (job.ended || job.computed < prompt.length) return;
    let more: "more" | "stop";
    try {
      const choice = this.#sampler.choose(logits, sampling);
      job.newest = choice.token;
      job.generated++;
      more = accept(choice);
    } catch (error) {
      const failure =
        error instanceof RangeError
          ? modelExecutionFailed(this.#options.name, error.message, error)
          : fromUnknown(error);
      this.#fail(job, failure);
      return;
    }
    this.#generatedTokens++;
    if (job.generated === 1) this.#timesToFirstToken.push((now - job.submittedAt) / 1000);
    else this.#interTokenLatencies.push((now - job.tokenAt) / 1000);
    job.tokenAt = now;
    if (more === "stop") this.#finish(job, "stop");
    else if (job.generated >= maxTokens || job.computed >= this.#options.model.contextLength) {
      this.#finish(job, "length");
    }
  }

  #stepFailure(thrown: unknown): TensorwireError {
    return thrown instanceof TensorwireError
      ? thrown
      : modelExecutionFailed(this.#options.name, messageOf(thrown), thrown);
  }

  #finish(job: Job, reason: FinishReason): void {
    if (this.#end(job, reason)) job.task.finished(reason);
  }

  #fail(job: Job, error: TensorwireError): void {
    if (this.#end(job, "error")) job.task.failed(error);
  }

  /** Takes a job out, unless it has ended; its row is free at once, or after the step it is in. */
  #end(job: Job, reason: EndReason): boolean {
    if (job.ended) return false;
    job.ended = true;
    job.callOffDeadline();
    const seconds = (this.#options.clock.now() - job.submittedAt) / 1000;
    this.#ended.push({ reason, seconds });
    if (!this.#waiting.delete(job) && !this.#stepping.includes(job)) this.#unseat(job);
    return true;
  }

  #unseat(job: Job): void {
    this.#running.delete(job);
    this.#cells -= job.computed;
    this.#freeSlots.push(job.slot);
    this.#options.model.release(job.slot);
  }

  #report(): void {
    const { model, observe, maxWaiting } = this.#options;
    const observation: GenerationObservation = {
      running: this.#running.size,
      waiting: this.#waiting.size,
      slots: model.slots,
      maxWaiting,
      cacheUsage: this.#cells / (model.slots * model.contextLength),
      promptTokens: this.#promptTokens,
      generatedTokens: this.#generatedTokens,
      timesToFirstToken: this.#timesToFirstToken,
      interTokenLatencies: this.#interTokenLatencies,
      ended: this.#ended,
    };
    this.#promptTokens = 0;
    this.#generatedTokens = 0;
    this.#timesToFirstToken = [];
    this.#interTokenLatencies = [];
    this.#ended = [];
    observe(observation);
  }
}
