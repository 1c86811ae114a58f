import type { PortableError } from "../errors/portable-error.ts";
import type { Task } from "./messages.ts";

/** A worker as the relay sees it. */
export interface TaskDoer {
  /** Whether callers wait for it: it answers calls, so they would see that it lags behind. */
  readonly isWaitedFor: boolean;
  doTask(id: number, task: Task): void;
}

interface Running {
  readonly task: Task;
  readonly pending: Set<TaskDoer>;
  /** Workers that did it or failed at it. */
  answers: number;
  error: PortableError | undefined;
  readonly resolve: (error: PortableError | undefined) => void;
}

/**
 * Has every worker do the same tasks, those of one key in one order, and keeps what was done last for
 * workers that come later.
 */
export class TaskRelay {
  readonly #doers = new Set<TaskDoer>();
  readonly #running = new Map<number, Running>();
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #done = new Map<string, Task>();
  #nextId = 1;

  /**
   * The last task of each key that all workers did, in the order in which they did them; none of a key whose
   * last task left nothing.
   */
  get done(): readonly Task[] {
    return [...this.#done.values()];
  }

  /** Adds a worker that was told {@link done}; it gets what is under way too. */
  add(doer: TaskDoer): void {
    this.#doers.add(doer);
    for (const [id, { task }] of this.#running) doer.doTask(id, task);
  }

  /** Removes a worker that is gone; nobody waits for it any more. */
  remove(doer: TaskDoer): void {
    this.#doers.delete(doer);
    for (const [id, running] of this.#running) {
      running.pending.delete(doer);
      this.#finish(id, running);
    }
  }

  /**
   * Has all workers do a task.
   *
   * @returns when those that are waited for are done: the first error, if there was one
   */
  async run(task: Task): Promise<PortableError | undefined> {
    const before = this.#last.get(task.key);
    const run = before ? before.then(() => this.#start(task)) : this.#start(task);
    this.#last.set(task.key, run);
    try {
      return await run;
    } finally {
      if (this.#last.get(task.key) === run) this.#last.delete(task.key);
    }
  }

  /** A worker did a task, or failed at it. */
  did(doer: TaskDoer, id: number, error: PortableError | undefined): void {
    const running = this.#running.get(id);
    if (!running?.pending.delete(doer)) return;
    running.answers++;
    running.error ??= error;
    this.#finish(id, running);
  }

  #start(task: Task): Promise<PortableError | undefined> {
    const { promise, resolve } = Promise.withResolvers<PortableError | undefined>();
    const id = this.#nextId++;
    const pending = new Set([...this.#doers].filter(({ isWaitedFor }) => isWaitedFor));
    const running: Running = { task, pending, answers: 0, error: undefined, resolve };
    this.#running.set(id, running);
    for (const doer of this.#doers) doer.doTask(id, task);
    this.#finish(id, running);
    return promise;
  }

  #finish(id: number, running: Running): void {
    if (running.pending.size > 0) return;
    this.#running.delete(id);
    const { task, answers, error, resolve } = running;
    if (answers > 0 && error === undefined) {
      // The place in the map is the order in which a worker that comes later does them.
      this.#done.delete(task.key);
      if (!task.leavesNothing) this.#done.set(task.key, task);
    }
    resolve(error);
  }
}
