import type { AbortCause, CallAbort } from "./call-context.ts";

/** A call within a call, which ends with it or by itself. */
export interface ChildAbort extends CallAbort {
  /** Ends this one alone; its parent and its siblings go on. */
  abort(cause: AbortCause): void;
}

/**
 * Calls that end when the call ends that they belong to: the requests of a stream, the steps of a graph. A
 * {@link CallAbort} has one listener; the group is that listener for any number of children.
 */
export class AbortGroup {
  readonly #parent: CallAbort;
  readonly #listening = new Set<Child>();
  #cause: AbortCause | undefined;

  constructor(parent: CallAbort) {
    this.#parent = parent;
    parent.onAbort(() => {
      this.#cause = parent.aborted ?? "cancelled";
      for (const child of [...this.#listening]) child.abort(this.#cause);
    });
  }

  /** Why the parent ended; `undefined` while it goes on. */
  get aborted(): AbortCause | undefined {
    return this.#cause ?? this.#parent.aborted;
  }

  /** Makes a call that ends with the parent. */
  child(): ChildAbort {
    return new Child(this, this.#listening);
  }

  /** Leaves the parent alone from now on, and cancels the children that are still under way. */
  close(): void {
    this.#parent.onAbort(undefined);
    for (const child of [...this.#listening]) child.abort("cancelled");
  }
}

class Child implements ChildAbort {
  readonly #group: AbortGroup;
  readonly #listening: Set<Child>;
  #own: AbortCause | undefined;
  #listener: (() => void) | undefined;

  constructor(group: AbortGroup, listening: Set<Child>) {
    this.#group = group;
    this.#listening = listening;
  }

  get aborted(): AbortCause | undefined {
    return this.#own ?? this.#group.aborted;
  }

  onAbort(listener: (() => void) | undefined): void {
    this.#listening.delete(this);
    this.#listener = undefined;
    if (!listener) return;
    if (this.aborted) {
      listener();
      return;
    }
    this.#listener = listener;
    this.#listening.add(this);
  }

  abort(cause: AbortCause): void {
    if (this.#own) return;
    this.#own = cause;
    this.#listening.delete(this);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.();
  }
}
