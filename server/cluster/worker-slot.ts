import type { Socket } from "node:net";
import type { ConnectionTaker } from "./connection-spread.ts";
import type { Answerer } from "./gatherer.ts";
import type { Question, Task } from "./messages.ts";
import type { TaskDoer } from "./task-relay.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** Life of one worker. */
export type WorkerLife =
  | { readonly kind: "starting" }
  /** Its models are loaded; it waits for the others. */
  | { readonly kind: "loaded" }
  /** `since` on the monotonic clock, in ms. */
  | { readonly kind: "serving"; readonly since: number }
  /** Too many: it drains, and ends for good. */
  | { readonly kind: "retiring" }
  /** For its restart. */
  | { readonly kind: "waiting"; readonly cancel: () => void }
  | { readonly kind: "ended" };

/** A connection that a worker is to have. */
export interface GivenConnection {
  readonly socket: Socket;
  readonly listener: "tcp" | "unix";
}

/** The place of one worker, whichever process has it. */
export class WorkerSlot<S> implements ConnectionTaker, TaskDoer, Answerer {
  readonly number: number;
  life: WorkerLife = { kind: "ended" };
  process: WorkerProcess<S> | undefined = undefined;
  open = 0;
  /** Ends in a row that nobody asked for. */
  failures = 0;
  /** Why it cannot start, in its own words. */
  failure: string | undefined = undefined;
  isWaitedFor = false;
  /** The connection that the process was sent, until it says that it has it; one at a time. */
  #sent: GivenConnection | undefined = undefined;
  #unsent: GivenConnection[] = [];

  constructor(number: number) {
    this.number = number;
  }

  /** Whether it runs, or is to run again, and is not one too many. */
  get isWanted(): boolean {
    return this.life.kind !== "ended" && this.life.kind !== "retiring";
  }

  /** A process begins. */
  begin(process: WorkerProcess<S>): void {
    this.process = process;
    this.life = { kind: "starting" };
    this.failure = undefined;
  }

  /**
   * The process has ended.
   *
   * @returns connections that it was given and did not take
   */
  end(): readonly GivenConnection[] {
    this.process = undefined;
    this.life = { kind: "ended" };
    this.open = 0;
    this.isWaitedFor = false;
    const untaken = this.#sent ? [this.#sent, ...this.#unsent] : this.#unsent;
    this.#sent = undefined;
    this.#unsent = [];
    return untaken;
  }

  take(socket: Socket, listener: "tcp" | "unix"): void {
    this.#unsent.push({ socket, listener });
    if (!this.#sent) this.#send();
  }

  /** The process has the connection that it was sent last. */
  took(): void {
    // It is open there; here it is only this process's hold on it that ends.
    this.#sent?.socket.destroy();
    this.#send();
  }

  #send(): void {
    this.#sent = this.#unsent.shift();
    if (!this.#sent) return;
    const { socket, listener } = this.#sent;
    this.process?.send({ kind: "connection", listener }, socket);
  }

  doTask(id: number, task: Task): void {
    this.process?.send({ kind: "task", id, task });
  }

  askQuestion(id: number, question: Question): void {
    this.process?.send({ kind: "question", id, question });
  }
}
