import type { Tensor } from "../../tensor/tensor.ts";
import { AnswerOrder } from "../scheduling/answer-order.ts";
import { LowestFree } from "./lowest-free.ts";
import { type Step, StepQueue } from "./step.ts";

/** The calls with one id, from a start to an end. */
export class Sequence {
  readonly id: bigint | string;
  /** Calls that wait. */
  readonly steps = new StepQueue();
  /** The call that the model has. */
  running: Step | undefined = undefined;
  /** Whether it goes on behind the calls that have come: it was started, and not ended. */
  open = false;
  /** Undefined while it waits for one. */
  slot: Slot | undefined = undefined;
  /** What the model gave last, under the names of its inputs; undefined at the start. */
  states: readonly Tensor[] | undefined = undefined;
  stateBytes = 0;
  /** Since when no call waits or runs, in ms. */
  idleSinceMs = 0;
  /** When it has waited too long for a slot, in ms. */
  expiresMs: number = Number.POSITIVE_INFINITY;

  constructor(id: bigint | string) {
    this.id = id;
  }
}

/** A place for a sequence on an instance of the model. */
export interface Slot {
  readonly instance: Instance;
  /** From 0; with strategy direct the row of its batches. */
  readonly number: number;
}

/** An instance of the model with the sequences that it has under way. */
export class Instance {
  readonly index: number;
  /** By slot. */
  readonly slots: (Sequence | undefined)[] = [];
  /** Sequences whose next call the model can have, those that wait longest first. */
  readonly ready = new Set<Sequence>();
  /** Calls of a run that failed, which are run one by one. */
  readonly retries: Step[] = [];
  /** Set if answers come in the order in which their runs began. */
  readonly order: AnswerOrder | undefined;
  readonly #free: LowestFree;
  /** False while it is started again. */
  up = true;
  /** Sequences in its slots. */
  sequences = 0;
  /** Runs that it has. */
  runs = 0;
  /** Set while a run is held back for more calls. */
  cancelDelay: (() => void) | undefined = undefined;

  constructor(index: number, slots: number, order: "kept" | "as computed") {
    this.index = index;
    this.order = order === "kept" ? new AnswerOrder() : undefined;
    this.#free = new LowestFree(slots);
  }

  /** Gives a sequence the lowest free slot; there must be one. */
  seat(sequence: Sequence): void {
    const number = this.#free.take();
    if (number === undefined) throw new Error(`instance ${this.index} has no free slot`);
    this.slots[number] = sequence;
    this.sequences++;
    sequence.slot = { instance: this, number };
  }

  /** Takes a sequence's slot back. */
  unseat(sequence: Sequence, { number }: Slot): void {
    this.slots[number] = undefined;
    while (this.slots.length > 0 && this.slots.at(-1) === undefined) this.slots.pop();
    this.ready.delete(sequence);
    this.#free.give(number);
    this.sequences--;
    sequence.slot = undefined;
  }
}
