import type { WireCall } from "./wire-call.ts";

/** Calls that wait for a stream, first in, first out. A call leaves it in constant time. */
export class WaitingCalls {
  #first: WireCall | undefined;
  #last: WireCall | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): WireCall | undefined {
    return this.#first;
  }

  push(call: WireCall): void {
    const last = this.#last;
    call.waitsAfter = last;
    call.waitsBefore = undefined;
    if (last) last.waitsBefore = call;
    else this.#first = call;
    this.#last = call;
    this.#size++;
  }

  /** Puts a call that had a stream back before all that were made after it. */
  putBack(call: WireCall): void {
    let next = this.#first;
    while (next && next.order < call.order) next = next.waitsBefore;
    if (!next) {
      this.push(call);
      return;
    }
    const previous = next.waitsAfter;
    call.waitsAfter = previous;
    call.waitsBefore = next;
    next.waitsAfter = call;
    if (previous) previous.waitsBefore = call;
    else this.#first = call;
    this.#size++;
  }

  /** Takes out a call that is in it. */
  remove(call: WireCall): void {
    const { waitsAfter, waitsBefore } = call;
    if (waitsAfter) waitsAfter.waitsBefore = waitsBefore;
    else this.#first = waitsBefore;
    if (waitsBefore) waitsBefore.waitsAfter = waitsAfter;
    else this.#last = waitsAfter;
    call.waitsAfter = undefined;
    call.waitsBefore = undefined;
    this.#size--;
  }

  /** All calls, from the first. */
  all(): WireCall[] {
    const calls: WireCall[] = [];
    for (let call = this.#first; call; call = call.waitsBefore) calls.push(call);
    return calls;
  }
}
