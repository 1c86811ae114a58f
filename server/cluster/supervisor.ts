import type { Socket } from "node:net";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import { restartDelay } from "../lifecycle/restart-delay.ts";
import type { Log } from "../observability/log.ts";
import { ConnectionSpread } from "./connection-spread.ts";
import { Gatherer } from "./gatherer.ts";
import type { FromWorker, Gathered, Question, Task } from "./messages.ts";
import { TaskRelay } from "./task-relay.ts";
import type { ProcessEnd, WorkerEvents, WorkerProcess } from "./worker-process.ts";
import { WorkerSlot } from "./worker-slot.ts";

/** What a supervisor acts on; the program gives the real ones, tests give their own. */
export interface SupervisorOptions<S> {
  /** Workers at the start, numbered from 1 on. */
  readonly count: number;
  /** Workers at most, for {@link Supervisor.resize}; as many as at the start without it. */
  readonly most?: number;
  readonly settings: S;
  readonly fork: (number: number, events: WorkerEvents) => WorkerProcess<S>;
  /** Calls `action` after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Answers what a worker asks; `gather` puts a question to all that answer calls. */
  readonly answer: (
    question: Question,
    gather: (question: Question) => Promise<Gathered>,
  ) => Promise<unknown>;
  /** Called once, when all workers are ready for the first time. */
  readonly onReady: () => void;
  /** Called when a connection begins to wait as no worker takes it. */
  readonly onWaiting?: () => void;
  /** Called when a worker's process has ended, with its number. */
  readonly onWorkerEnd: (number: number) => void;
  /** Told of each task that all workers did. */
  readonly onTask?: (task: Task) => void;
  /** Told why a worker could not start, when the whole fails for it; `text` is for people. */
  readonly onFailure: (text: string) => void;
  readonly log: Log;
}

/** What a supervisor counts. */
export interface SupervisorStats {
  /** Workers that are to be there. */
  readonly wanted: number;
  /** Workers that answer calls. */
  readonly serving: number;
  readonly restarts: number;
  /** Answers of workers that did not come in time. */
  readonly missedAnswers: number;
  /** Connections that wait for a worker. */
  readonly waitingConnections: number;
  /** Connections closed because too many waited. */
  readonly refusedConnections: number;
  readonly workers: readonly {
    readonly number: number;
    readonly pid: number;
    readonly openConnections: number;
  }[];
}

/** Failures in a row after which the whole gives up, if no worker answers calls. */
const maxFailures = 5;
/** A worker that served for as long has forgotten the failures before, in ms. */
const stableMs = 60_000;
/** Time for the answers of all workers to one question, in ms. */
const answerTimeoutMs = 2_000;

/** Ends of a start that the next one would have too: the settings or the models are wrong. */
const lastingFailures: readonly number[] = [exitCodes.usage, exitCodes.listen, exitCodes.models];

type SupervisorState =
  | { readonly kind: "starting" }
  | { readonly kind: "ready" }
  | { readonly kind: "stopping" }
  | { readonly kind: "stopped" };

/**
 * Keeps worker processes running: starts them, gives them connections, starts again those that end,
 * passes tasks and questions between them, and ends them.
 */
export class Supervisor<S> {
  readonly #options: SupervisorOptions<S>;
  readonly #slots: readonly WorkerSlot<S>[];
  readonly #spread: ConnectionSpread;
  readonly #relay = new TaskRelay();
  readonly #gatherer: Gatherer;
  readonly #ended = Promise.withResolvers<number>();
  #state: SupervisorState = { kind: "starting" };
  #wanted: number;
  #exitCode = 0;
  #restarts = 0;

  constructor(options: SupervisorOptions<S>) {
    this.#options = options;
    this.#gatherer = new Gatherer(options.after, answerTimeoutMs);
    this.#spread = new ConnectionSpread(options.onWaiting);
    this.#wanted = options.count;
    const most = options.most ?? options.count;
    this.#slots = Array.from({ length: most }, (_, index) => new WorkerSlot(index + 1));
  }

  /** Resolves with the exit code when all workers have ended: after {@link stop}, or when it gave up. */
  get ended(): Promise<number> {
    return this.#ended.promise;
  }

  /** Counts for metrics. */
  get stats(): SupervisorStats {
    return {
      wanted: this.#wanted,
      serving: this.#slots.filter(({ life }) => life.kind === "serving").length,
      restarts: this.#restarts,
      missedAnswers: this.#gatherer.missed,
      waitingConnections: this.#spread.waiting,
      refusedConnections: this.#spread.refused,
      workers: this.#slots.flatMap(({ number, process, open }) =>
        process?.pid === undefined ? [] : [{ number, pid: process.pid, openConnections: open }],
      ),
    };
  }

  /** Starts the workers. */
  start(): void {
    for (const slot of this.#slots.slice(0, this.#wanted)) this.#fork(slot);
  }

  /**
   * Has another number of workers run, within the most. More are started; of too many those go that do not
   * answer calls yet, then those with the fewest connections: they end the calls that they have.
   */
  resize(count: number): void {
    if (this.#state.kind === "stopping" || this.#state.kind === "stopped") return;
    this.#wanted = Math.min(count, this.#slots.length);
    const running = this.#slots.filter(({ isWanted }) => isWanted);
    const surplus = running
      .sort((a, b) => usefulness(a) - usefulness(b) || a.open - b.open || b.number - a.number)
      .slice(0, Math.max(0, running.length - this.#wanted));
    for (const slot of surplus) this.#retire(slot);
    this.#fill();
  }

  /** Starts what is missing, in places that are free. */
  #fill(): void {
    let missing = this.#wanted - this.#slots.filter(({ isWanted }) => isWanted).length;
    for (const slot of this.#slots) {
      if (missing <= 0) return;
      if (slot.life.kind !== "ended") continue;
      slot.failures = 0;
      this.#fork(slot);
      missing--;
    }
  }

  #retire(slot: WorkerSlot<S>): void {
    this.#spread.remove(slot);
    if (slot.life.kind === "waiting") {
      slot.life.cancel();
      slot.life = { kind: "ended" };
      return;
    }
    slot.life = { kind: "retiring" };
    slot.process?.send({ kind: "signal", signal: "SIGTERM" });
  }

  /** Gives a connection, paused, to the worker with the fewest. */
  give(socket: Socket, listener: "tcp" | "unix"): void {
    if (this.#state.kind === "stopping" && !this.#spread.isTaken) socket.destroy();
    else this.#spread.give(socket, listener);
  }

  /** Asks one worker; `undefined` if it does not answer. */
  async ask(number: number, question: Question): Promise<unknown> {
    const slots = this.#slots.filter((slot) => slot.number === number && slot.process);
    return (await this.#gatherer.gather(slots, question)).answers[0]?.answer;
  }

  /** Asks all workers that answer calls. */
  gather(question: Question): Promise<Gathered> {
    const slots = this.#slots.filter(({ isWaitedFor }) => isWaitedFor);
    return this.#gatherer.gather(slots, question);
  }

  /** Ends the workers as a signal ends the program; a second time passes the signal on. */
  stop(signal: string): void {
    if (this.#state.kind === "stopped") return;
    const isFirst = this.#state.kind !== "stopping";
    this.#state = { kind: "stopping" };
    for (const slot of this.#slots) {
      if (slot.life.kind === "waiting") {
        slot.life.cancel();
        slot.life = { kind: "ended" };
      }
      // A second signal would cut off what it drains.
      if (isFirst && slot.life.kind === "retiring") continue;
      slot.process?.send({ kind: "signal", signal });
    }
    this.#checkEnded();
  }

  /** Ends the workers at once. */
  kill(): void {
    for (const slot of this.#slots) slot.process?.kill();
    this.#spread.close();
  }

  #fork(slot: WorkerSlot<S>): void {
    const { fork, settings } = this.#options;
    const process = fork(slot.number, {
      onMessage: (message) => {
        // What a process said last may come after its end.
        if (slot.process === process) this.#onMessage(slot, message);
      },
      onEnd: (end) => this.#onEnd(slot, end),
    });
    slot.begin(process);
    process.send({
      kind: "start",
      start: {
        number: slot.number,
        settings,
        tasks: this.#relay.done,
        // Probes are to be answered while models load; once others answer, nobody is to wait for it.
        accept: this.#state.kind === "starting" ? "at once" : "when ready",
      },
    });
    this.#relay.add(slot);
  }

  #onMessage(slot: WorkerSlot<S>, message: FromWorker): void {
    switch (message.kind) {
      case "accepting":
        slot.isWaitedFor = true;
        if (slot.life.kind !== "retiring") this.#spread.add(slot);
        return;
      case "leaving":
        this.#spread.remove(slot);
        if (this.#state.kind === "stopping" && !this.#spread.isTaken) this.#spread.close();
        return;
      case "took":
        slot.took();
        return;
      case "closed":
        slot.open -= message.count;
        return;
      case "loaded":
        this.#onLoaded(slot);
        return;
      case "failed":
        slot.failure = message.text;
        return;
      case "did":
        this.#relay.did(slot, message.id, message.error);
        return;
      case "answered":
        this.#gatherer.answered(slot, message.id, message.answer);
        return;
      case "unanswered":
        this.#gatherer.unanswered(slot, message.id);
        return;
      case "everywhere":
        void this.#runTask(slot, message);
        return;
      case "ask":
        void this.#answer(slot, message);
        return;
    }
  }

  #onLoaded(slot: WorkerSlot<S>): void {
    if (slot.life.kind !== "starting") return;
    slot.life = { kind: "loaded" };
    switch (this.#state.kind) {
      case "ready":
        this.#serve(slot);
        this.#balance(slot);
        return;
      case "starting":
        if (!this.#slots.every((each) => !each.isWanted || each.life.kind === "loaded")) return;
        this.#state = { kind: "ready" };
        for (const loaded of this.#slots) if (loaded.isWanted) this.#serve(loaded);
        this.#options.onReady();
        return;
      case "stopping":
      case "stopped":
        return;
    }
  }

  #serve(slot: WorkerSlot<S>): void {
    slot.life = { kind: "serving", since: this.#options.now() };
    slot.process?.send({ kind: "serve" });
  }

  /** Has the others part with what is a newcomer's share: connections stay for long, and calls on them. */
  #balance(newcomer: WorkerSlot<S>): void {
    const serving = this.#slots.filter(({ life }) => life.kind === "serving");
    const open = serving.reduce((sum, slot) => sum + slot.open, 0);
    const share = Math.ceil(open / serving.length);
    for (const slot of serving) {
      const count = slot.open - share;
      if (slot !== newcomer && count > 0) slot.process?.send({ kind: "shed", count });
    }
  }

  #onEnd(slot: WorkerSlot<S>, end: ProcessEnd): void {
    const { log, now, random, after, onWorkerEnd, onFailure } = this.#options;
    const before = slot.life;
    const { failure } = slot;
    this.#spread.remove(slot);
    this.#relay.remove(slot);
    this.#gatherer.remove(slot);
    const untaken = slot.end();
    onWorkerEnd(slot.number);
    for (const { socket, listener } of untaken) this.give(socket, listener);
    const how = end.kind === "exit" ? { exitCode: end.code } : { signal: end.signal };
    const code = end.kind === "exit" ? end.code : exitCodes.failed;
    if (this.#state.kind === "stopping" || this.#state.kind === "stopped") {
      if (code !== 0 && code !== this.#exitCode)
        log.warn({ worker: slot.number, ...how }, "a worker did not end well");
      // The code of the worst end: a drain that took too long is more than one that failed.
      this.#exitCode = Math.max(this.#exitCode, code);
      this.#checkEnded();
      return;
    }
    if (before.kind === "retiring") {
      if (code !== 0) log.warn({ worker: slot.number, ...how }, "a worker did not end well");
      this.#fill();
      return;
    }
    if (before.kind === "serving" && now() - before.since >= stableMs) slot.failures = 0;
    slot.failures++;
    const lasting = this.#state.kind === "starting" && lastingFailures.includes(code);
    const nobodyServes = this.#slots.every(({ life }) => life.kind !== "serving");
    if (lasting || (nobodyServes && slot.failures >= maxFailures)) {
      if (failure !== undefined) onFailure(failure);
      else {
        const fields = { worker: slot.number, ...how, failures: slot.failures };
        log.error(fields, "a worker cannot start; giving up");
      }
      this.#exitCode = code === 0 ? exitCodes.failed : code;
      this.stop("SIGTERM");
      return;
    }
    const delayMs = restartDelay(slot.failures, random());
    log.error(
      {
        worker: slot.number,
        ...how,
        ...(failure === undefined ? {} : { why: failure.trim() }),
        failures: slot.failures,
        restartInMs: delayMs,
      },
      "a worker ended; it is started again",
    );
    const cancel = after(delayMs, () => {
      this.#restarts++;
      this.#fork(slot);
    });
    slot.life = { kind: "waiting", cancel };
  }

  #checkEnded(): void {
    if (!this.#slots.every(({ life }) => life.kind === "ended")) return;
    this.#state = { kind: "stopped" };
    this.#spread.close();
    this.#ended.resolve(this.#exitCode);
  }

  async #runTask(
    slot: WorkerSlot<S>,
    { id, task }: FromWorker & { readonly kind: "everywhere" },
  ): Promise<void> {
    const { process } = slot;
    const error = await this.#relay.run(task);
    if (error === undefined) this.#options.onTask?.(task);
    process?.send({ kind: "done", id, error });
  }

  async #answer(
    slot: WorkerSlot<S>,
    { id, question }: FromWorker & { readonly kind: "ask" },
  ): Promise<void> {
    const { process } = slot;
    let answer: unknown;
    try {
      answer = await this.#options.answer(question, (asked) => this.gather(asked));
    } catch (error) {
      this.#options.log.error({ err: error, question: question.name }, "a question failed");
    }
    process?.send({ kind: "answer", id, answer });
  }
}

/** Those that answer calls are the last to go. */
function usefulness({ life }: WorkerSlot<unknown>): number {
  return life.kind === "serving" ? 1 : 0;
}
