import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { fromPortable, toPortable } from "../errors/portable-error.ts";
import type { ProcessEvents } from "../lifecycle/process-events.ts";
import type { FromWorker, Question, Task, ToWorker, WorkerStart } from "./messages.ts";

/** What a link needs of Node's `process`. */
export interface LinkedProcess extends ProcessEvents {
  readonly connected?: boolean;
  send?(message: FromWorker, handle: undefined, options: object, sent: () => void): boolean;
}

/** What a worker does for the others. */
export interface WorkerDuties {
  /** Serves a connection of which nothing was read. */
  serve(socket: Socket, listener: "tcp" | "unix"): void;
  /** Asks the peers of so many connections to come again. */
  shed(count: number): void;
  doTask(task: Task): Promise<void>;
  answer(question: Question): Promise<unknown>;
}

/** Signals that the supervisor passes on; the terminal sends them to the workers too. */
const signals: readonly string[] = ["SIGTERM", "SIGINT"];

/** A worker's side of the talk with its supervisor. */
export class SupervisorLink<S> {
  readonly #process: LinkedProcess;
  readonly #started = Promise.withResolvers<WorkerStart<S>>();
  readonly #serving = Promise.withResolvers<void>();
  readonly #signals = new EventEmitter();
  /** Signals that came before anybody listened. */
  readonly #early = new Set<string>();
  readonly #done = new Map<number, (error: Error | undefined) => void>();
  readonly #answers = new Map<number, (answer: unknown) => void>();
  #duties: WorkerDuties | undefined;
  #nextId = 1;
  #closed = 0;

  /** @param own - this process, which has a channel to its supervisor */
  constructor(own: LinkedProcess) {
    this.#process = own;
    for (const signal of signals) own.on(signal, ignore);
    // Nobody gives us connections any more then, and nobody would end us.
    own.on("disconnect", () => this.#onSignal("SIGTERM"));
    own.on("message", ((message: ToWorker<S>, handle: unknown) =>
      this.#onMessage(message, handle as Socket | undefined)) as (value: unknown) => void);
  }

  /** What this worker is to do. */
  get started(): Promise<WorkerStart<S>> {
    return this.#started.promise;
  }

  /** Events of the process, with the signals of the supervisor in place of its own. */
  get events(): ProcessEvents {
    const of = (event: string): ProcessEvents =>
      signals.includes(event) ? this.#signals : this.#process;
    return {
      on: (event, listener) => {
        of(event).on(event, listener);
        if (this.#early.delete(event)) this.#onSignal(event);
      },
      off: (event, listener) => of(event).off(event, listener),
    };
  }

  /** Says what this worker does for the others; before it accepts connections. */
  take(duties: WorkerDuties): void {
    this.#duties = duties;
  }

  /** This worker takes connections. */
  accepting(): void {
    this.#send({ kind: "accepting" });
  }

  /** This worker takes none any more. */
  leaving(): void {
    this.#send({ kind: "leaving" });
  }

  /** The start is done; resolves when the worker may say that it is ready. */
  loaded(): Promise<void> {
    this.#send({ kind: "loaded" });
    return this.#serving.promise;
  }

  /** This worker cannot start; `text` is for people. Resolves when the supervisor was told. */
  failed(text: string, exitCode: number): Promise<void> {
    return new Promise((resolve) => this.#send({ kind: "failed", text, exitCode }, resolve));
  }

  /**
   * Has every worker do a task, this one too.
   *
   * @throws TensorwireError the first with which one of them failed, when all are done
   */
  everywhere(task: Task): Promise<void> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#done.set(id, (error) => (error ? reject(error) : resolve()));
      this.#send({ kind: "everywhere", id, task });
    });
  }

  /** Asks what only the whole can tell; `undefined` if the supervisor cannot. */
  ask(question: Question): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#send({ kind: "ask", id, question });
    });
  }

  #onMessage(message: ToWorker<S>, socket: Socket | undefined): void {
    switch (message.kind) {
      case "start":
        this.#started.resolve(message.start);
        return;
      case "serve":
        this.#serving.resolve();
        return;
      case "signal":
        this.#onSignal(message.signal);
        return;
      case "shed":
        this.#duties?.shed(message.count);
        return;
      case "connection":
        this.#serve(socket, message.listener);
        return;
      case "task":
        void this.#doTask(message.id, message.task);
        return;
      case "question":
        void this.#answer(message.id, message.question);
        return;
      case "done":
        this.#done.get(message.id)?.(message.error && fromPortable(message.error));
        this.#done.delete(message.id);
        return;
      case "answer":
        this.#answers.get(message.id)?.(message.answer);
        this.#answers.delete(message.id);
        return;
    }
  }

  #onSignal(signal: string): void {
    if (!this.#signals.emit(signal)) this.#early.add(signal);
  }

  #serve(socket: Socket | undefined, listener: "tcp" | "unix"): void {
    this.#send({ kind: "took" });
    // It may have closed on the way.
    if (!socket || socket.destroyed) this.#onClosed();
    else {
      socket.once("close", () => this.#onClosed());
      if (this.#duties) this.#duties.serve(socket, listener);
      else socket.destroy();
    }
  }

  /** Connections often close together, and one message tells of them. */
  #onClosed(): void {
    if (this.#closed++ > 0) return;
    setImmediate(() => {
      const count = this.#closed;
      this.#closed = 0;
      this.#send({ kind: "closed", count });
    });
  }

  async #doTask(id: number, task: Task): Promise<void> {
    try {
      if (!this.#duties) throw new Error(`the worker is not ready for task ${task.name}`);
      await this.#duties.doTask(task);
      this.#send({ kind: "did", id, error: undefined });
    } catch (error) {
      this.#send({ kind: "did", id, error: toPortable(error) });
    }
  }

  async #answer(id: number, question: Question): Promise<void> {
    try {
      if (!this.#duties) throw new Error(`the worker cannot answer ${question.name} yet`);
      this.#send({ kind: "answered", id, answer: await this.#duties.answer(question) });
    } catch {
      // The supervisor counts it; whoever asked goes on without this answer.
      this.#send({ kind: "unanswered", id });
    }
  }

  #send(message: FromWorker, sent: () => void = ignore): void {
    if (this.#process.connected) this.#process.send?.(message, undefined, {}, sent);
    else sent();
  }
}

function ignore(): void {
  // Of a signal: the supervisor says when to end. Of a message: a supervisor that is gone ends us.
}
