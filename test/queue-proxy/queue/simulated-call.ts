import type { AdmissionQueue } from "../../../server/queue-proxy/queue/admission-queue.ts";
import type { Flow } from "../../../server/queue-proxy/queue/flow.ts";
import type { QueuedCall, ShedReason } from "../../../server/queue-proxy/queue/queued-call.ts";

/** A call of a test: what became of it, and when. */
export class SimulatedCall implements QueuedCall {
  readonly name: string;
  readonly flow: Flow;
  readonly cost: number;
  readonly deadlineAt: number;
  queuedAt = -1;
  flowBefore: QueuedCall | undefined = undefined;
  flowAfter: QueuedCall | undefined = undefined;
  levelBefore: QueuedCall | undefined = undefined;
  levelAfter: QueuedCall | undefined = undefined;
  waitingBytes = 0;
  /** `running` from {@link admit} until a test releases it. */
  state: "new" | "running" | "done" | ShedReason = "new";
  retryAfterMs = -1;
  readonly #onAdmit: (call: SimulatedCall) => void;

  constructor(
    name: string,
    flow: Flow,
    onAdmit: (call: SimulatedCall) => void = () => {},
    cost = 1,
    deadlineAt = Number.POSITIVE_INFINITY,
  ) {
    this.name = name;
    this.flow = flow;
    this.cost = cost;
    this.deadlineAt = deadlineAt;
    this.#onAdmit = onAdmit;
  }

  admit(): void {
    if (this.state !== "new") throw new Error(`${this.name} is admitted and was ${this.state}`);
    this.state = "running";
    this.#onAdmit(this);
  }

  shed(reason: ShedReason, retryAfterMs: number): void {
    if (this.state !== "new") throw new Error(`${this.name} is shed and was ${this.state}`);
    this.state = reason;
    this.retryAfterMs = retryAfterMs;
  }

  end(queue: AdmissionQueue, serviceMs?: number): void {
    this.state = "done";
    queue.release(this, serviceMs);
  }
}
