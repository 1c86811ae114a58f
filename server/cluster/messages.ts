import type { PortableError } from "../errors/portable-error.ts";

/** Something that every worker is to do, such as to load a model. */
export interface Task {
  readonly name: string;
  /** Tasks with the same key are done one after the other, and the last one counts. */
  readonly key: string;
  readonly payload: Uint8Array;
  /** Set if it undoes what others of its key did: a worker that comes later has nothing to do then. */
  readonly leavesNothing?: true | undefined;
}

/** Something that a worker is asked, such as its metrics. */
export interface Question {
  readonly name: string;
  readonly payload: Uint8Array;
}

/** Answers of the workers, by the number of the worker. */
export interface Gathered {
  readonly answers: readonly { readonly worker: number; readonly answer: unknown }[];
  /** Workers that did not answer in time, or could not. */
  readonly missing: number;
}

/** What one worker is told when it starts. */
export interface WorkerStart<S> {
  /** From 1 on; a worker that takes the place of another has the number of that one. */
  readonly number: number;
  /** Settled settings, the same for all workers. */
  readonly settings: S;
  /** Tasks that the others have done and that this one has to do before it is ready. */
  readonly tasks: readonly Task[];
  /** `at once`: connections come from the start, so that probes are answered; else when it is ready. */
  readonly accept: "at once" | "when ready";
}

/** What the supervisor sends. A `connection` comes with its socket. */
export type ToWorker<S> =
  | { readonly kind: "start"; readonly start: WorkerStart<S> }
  | { readonly kind: "serve" }
  | { readonly kind: "signal"; readonly signal: string }
  /** To part with so many connections, so that they go to others. */
  | { readonly kind: "shed"; readonly count: number }
  | { readonly kind: "connection"; readonly listener: "tcp" | "unix" }
  | { readonly kind: "task"; readonly id: number; readonly task: Task }
  | { readonly kind: "question"; readonly id: number; readonly question: Question }
  | { readonly kind: "done"; readonly id: number; readonly error: PortableError | undefined }
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown };

/** What a worker sends. */
export type FromWorker =
  /** Takes connections. */
  | { readonly kind: "accepting" }
  /** Takes none any more. */
  | { readonly kind: "leaving" }
  /** Has the connection that it was sent, and can be sent the next. */
  | { readonly kind: "took" }
  /** Connections that were handed over and are closed now. */
  | { readonly kind: "closed"; readonly count: number }
  /** Has done its start and waits for `serve`. */
  | { readonly kind: "loaded" }
  /** Cannot start; `text` is for people. It ends with `exitCode` afterwards. */
  | { readonly kind: "failed"; readonly text: string; readonly exitCode: number }
  | { readonly kind: "did"; readonly id: number; readonly error: PortableError | undefined }
  | { readonly kind: "answered"; readonly id: number; readonly answer: unknown }
  | { readonly kind: "unanswered"; readonly id: number }
  /** Asks that all workers do something; is told `done` under its `id`. */
  | { readonly kind: "everywhere"; readonly id: number; readonly task: Task }
  /** Asks what only the whole can tell; is told `answer` under its `id`. */
  | { readonly kind: "ask"; readonly id: number; readonly question: Question };
