import { Codel } from "./codel.ts";
import type { CallClass, Flow } from "./flow.ts";
import type { QueuedCall } from "./queued-call.ts";

/** Calls that wait in one level, and whose turn it is among their flows. */
export class Level {
  readonly number: number;
  readonly codel = new Codel();
  /** Flows with calls that wait. */
  readonly #flows: Flow[] = [];
  /** All calls of the level by age. */
  oldest: QueuedCall | undefined = undefined;
  newest: QueuedCall | undefined = undefined;
  length = 0;
  /** Virtual time of start-time fair queueing (Goyal, Vin and Cheng, 1996). */
  #virtualTime = 0;

  constructor(number: number) {
    this.number = number;
  }

  push(call: QueuedCall): void {
    call.levelBefore = this.newest;
    call.levelAfter = undefined;
    if (this.newest) this.newest.levelAfter = call;
    else this.oldest = call;
    this.newest = call;
    this.length++;
    const { flow } = call;
    if (flow.length === 0) {
      flow.startTag = Math.max(this.#virtualTime, flow.finishTag);
      this.#flows.push(flow);
    }
    flow.push(call);
  }

  remove(call: QueuedCall): void {
    const { levelBefore, levelAfter, flow } = call;
    if (levelBefore) levelBefore.levelAfter = levelAfter;
    else this.oldest = levelAfter;
    if (levelAfter) levelAfter.levelBefore = levelBefore;
    else this.newest = levelBefore;
    call.levelBefore = undefined;
    call.levelAfter = undefined;
    this.length--;
    flow.remove(call);
    if (flow.length === 0) this.#flows.splice(this.#flows.indexOf(flow), 1);
  }

  /** Takes the calls of a class out, the oldest first. */
  takeAll(callClass: CallClass): QueuedCall[] {
    const taken: QueuedCall[] = [];
    for (let call = this.oldest; call; ) {
      const next = call.levelAfter;
      if (call.flow.callClass === callClass) {
        this.remove(call);
        taken.push(call);
      }
      call = next;
    }
    return taken;
  }

  /** The flow whose turn it is, of those whose class may have one more call under way. */
  nextFlow(): Flow | undefined {
    let next: Flow | undefined;
    for (const flow of this.#flows) {
      const { callClass } = flow;
      if (callClass.running >= callClass.policy.concurrency) continue;
      if (!next || flow.startTag < next.startTag) next = flow;
    }
    return next;
  }

  /** Counts a call of a flow as served: the flow comes again the later, the more it cost. */
  serve(call: QueuedCall): void {
    const { flow, cost } = call;
    this.#virtualTime = Math.max(this.#virtualTime, flow.startTag);
    flow.finishTag = flow.startTag + cost / flow.callClass.policy.weight;
    flow.startTag = flow.finishTag;
  }
}
