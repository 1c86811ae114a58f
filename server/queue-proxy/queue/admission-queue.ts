import { AdaptiveLimit } from "./adaptive-limit.ts";
import { CallClass, type Flow } from "./flow.ts";
import { Level } from "./level.ts";
import type { ClassPolicy, QueuePolicy } from "./queue-policy.ts";
import type { QueuedCall, ShedReason } from "./queued-call.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Told of what becomes of calls, for metrics. */
export interface QueueListener {
  /** A call goes to the server, `waitedMs` after it came to the queue; 0 if it did not wait. */
  onAdmit(callClass: CallClass, waitedMs: number): void;
  onShed(callClass: CallClass, reason: ShedReason): void;
}

/** Bounds of what callers are told about another attempt, in ms. */
const minRetryMs = 50;
const maxRetryMs = 10_000;

/**
 * Lets so many calls at once go to the server, and has the others wait: the highest level first, within a
 * level in turn between flows, by weight and cost. Nothing here takes time into its own hands: whoever
 * owns the calls tells it that they end, leave or have waited too long.
 */
export class AdmissionQueue {
  readonly #listener: QueueListener;
  readonly #now: () => number;
  readonly #levels: Level[] = [];
  readonly #classes = new Map<string, CallClass>();
  #policy: QueuePolicy;
  #bucket: TokenBucket | undefined;
  #adaptive: AdaptiveLimit | undefined;
  #running = 0;
  #waiting = 0;
  #waitingBytes = 0;
  #pumping = false;
  /** Moving mean of the time that calls have waited, in ms. */
  #meanWaitMs = 0;

  /** @param now - monotonic clock, in ms */
  constructor(
    policy: QueuePolicy,
    classes: readonly ClassPolicy[],
    listener: QueueListener,
    now: () => number = () => performance.now(),
  ) {
    this.#policy = policy;
    this.#listener = listener;
    this.#now = now;
    this.#bucket = this.#bucketOf(policy);
    this.#adaptive = adaptiveOf(policy, now());
    for (const one of classes) this.#classes.set(one.name, new CallClass(one, now()));
    this.#makeLevels();
  }

  /** Calls that may be with the server at once, now. */
  get capacity(): number {
    return this.#adaptive?.limit ?? this.#policy.capacity;
  }

  /** Calls that may wait: of a limit that moves ten times as many, as Knative has it. */
  get maxWaiting(): number {
    const { maxWaiting } = this.#policy;
    return this.#adaptive ? Math.min(maxWaiting, 10 * this.#adaptive.limit) : maxWaiting;
  }

  get policy(): QueuePolicy {
    return this.#policy;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Classes by name. */
  get classes(): ReadonlyMap<string, CallClass> {
    return this.#classes;
  }

  /** Sets other limits: calls that fit them now go on, those that wait stay. */
  change(policy: QueuePolicy): void {
    const rates = policy.rate !== this.#policy.rate || policy.burst !== this.#policy.burst;
    const follows = followsServer(policy);
    if (follows !== followsServer(this.#policy) || policy.adaptive !== this.#policy.adaptive) {
      this.#adaptive = adaptiveOf(policy, this.#now());
    }
    this.#policy = policy;
    if (rates) this.#bucket = this.#bucketOf(policy);
    this.#pump(this.#now());
  }

  /** Sets other limits of a class; calls that wait go over to its level. */
  changeClass(callClass: CallClass, policy: ClassPolicy): void {
    const now = this.#now();
    this.#setClass(callClass, policy, now);
    this.#pump(now);
  }

  /** Takes another set of classes, and limits. Classes that are not in it stay while they have calls. */
  configure(policy: QueuePolicy, classes: readonly ClassPolicy[]): void {
    const now = this.#now();
    const names = new Set(classes.map(({ name }) => name));
    for (const [name, { running, waiting }] of this.#classes) {
      if (!names.has(name) && running === 0 && waiting === 0) this.#classes.delete(name);
    }
    for (const one of classes) {
      const known = this.#classes.get(one.name);
      if (known) this.#setClass(known, one, now);
      else {
        this.#classes.set(one.name, new CallClass(one, now));
        this.#addLevel(one.level);
      }
    }
    this.change(policy);
  }

  #setClass(callClass: CallClass, policy: ClassPolicy, now: number): void {
    const from = this.#levelOf(callClass);
    const moved = policy.level === from.number ? [] : from.takeAll(callClass);
    this.#addLevel(policy.level);
    callClass.change(policy, now);
    for (const call of moved) this.#levelOf(callClass).push(call);
  }

  flowOf(callClass: CallClass, tenant: string, now: number): Flow {
    return callClass.flowOf(tenant, this.#policy.maxTenants, now);
  }

  /** A call has come: it is admitted or shed at once, or waits. */
  offer(call: QueuedCall, now: number): void {
    const { flow } = call;
    const { callClass } = flow;
    const waitMs = this.#waitForRate(call, now);
    if (waitMs > 0) {
      this.#shed(call, "rate", waitMs);
      return;
    }
    const fits =
      this.#waiting === 0 &&
      this.#running < this.capacity &&
      callClass.running < callClass.policy.concurrency;
    if (fits) {
      this.#admit(call, 0);
      return;
    }
    if (callClass.waiting >= callClass.policy.maxWaiting) {
      this.#shed(call, "queue-full", this.#retryAfterMs());
      return;
    }
    if (this.#waiting >= this.maxWaiting && !this.#displace(callClass.policy.level)) {
      this.#shed(call, "queue-full", this.#retryAfterMs());
      return;
    }
    call.queuedAt = now;
    this.#waiting++;
    callClass.waiting++;
    this.#levelOf(callClass).push(call);
    this.#pump(now);
  }

  /** Content has come that waits with a call; the call is shed if there is no room for it. */
  addBytes(call: QueuedCall, bytes: number): void {
    if (call.queuedAt === -1) return;
    this.#waitingBytes += bytes;
    call.waitingBytes += bytes;
    if (this.#waitingBytes <= this.#policy.maxWaitingBytes) return;
    this.leave(call);
    this.#shed(call, "queue-bytes", this.#retryAfterMs());
  }

  /** A call does not wait any longer: its caller is gone, or its time is over. */
  leave(call: QueuedCall): void {
    if (call.queuedAt === -1) return;
    const { callClass } = call.flow;
    this.#levelOf(callClass).remove(call);
    call.queuedAt = -1;
    this.#waiting--;
    callClass.waiting--;
    this.#waitingBytes -= call.waitingBytes;
    call.waitingBytes = 0;
  }

  /** A call has waited too long. */
  expire(call: QueuedCall, reason: "max-wait" | "deadline"): void {
    if (call.queuedAt === -1) return;
    this.leave(call);
    this.#shed(call, reason, this.#retryAfterMs());
  }

  /**
   * A call that was admitted is over.
   *
   * @param serviceMs - time that the server took for it; `undefined` if it did not end it
   */
  release(call: QueuedCall, serviceMs?: number): void {
    const { flow } = call;
    if (serviceMs !== undefined) {
      const now = this.#now();
      flow.callClass.onServed(serviceMs, now);
      this.#adaptive?.served(serviceMs, this.#running, now);
    }
    this.#running--;
    flow.running--;
    flow.callClass.running--;
    if (this.#waiting > 0) this.#pump(this.#now());
  }

  #admit(call: QueuedCall, waitedMs: number): void {
    const { flow } = call;
    this.#running++;
    flow.running++;
    flow.callClass.running++;
    if (this.#waiting > 0 || waitedMs > 0 || this.#meanWaitMs > 0.01) {
      this.#meanWaitMs += (waitedMs - this.#meanWaitMs) / 16;
    }
    this.#listener.onAdmit(flow.callClass, waitedMs);
    call.admit();
  }

  #shed(call: QueuedCall, reason: ShedReason, retryAfterMs: number): void {
    this.#listener.onShed(call.flow.callClass, reason);
    call.shed(reason, retryAfterMs);
  }

  #pump(now: number): void {
    // A call that fails at once leads back here.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#waiting > 0 && this.#running < this.capacity) {
        const call = this.#next(now);
        if (!call) return;
        const waitedMs = now - call.queuedAt;
        const level = this.#levelOf(call.flow.callClass);
        const { codelTargetMs, codelIntervalMs } = this.#policy;
        this.leave(call);
        if (call.deadlineAt - now <= call.flow.callClass.expectedMs(now))
          this.#shed(call, "deadline", this.#retryAfterMs());
        else if (level.codel.sheds(waitedMs, now, codelTargetMs, codelIntervalMs)) {
          this.#shed(call, "codel", this.#retryAfterMs());
        } else {
          level.serve(call);
          this.#admit(call, waitedMs);
        }
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** The call whose turn it is. */
  #next(now: number): QueuedCall | undefined {
    const { agingMs, order, lifoAfterMs } = this.#policy;
    // Levels whose oldest call has risen by its age stand where it stands.
    let best: Level | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    let bestFlow: Flow | undefined;
    for (const level of this.#levels) {
      if (level.length === 0) continue;
      const flow = level.nextFlow();
      if (!flow) continue;
      const risen = Math.floor((now - level.oldest!.queuedAt) / agingMs);
      const rank = level.number - risen;
      if (rank < bestRank) {
        best = level;
        bestRank = rank;
        bestFlow = flow;
      }
    }
    if (!best) return undefined;
    const { oldest } = best;
    const { callClass } = oldest!.flow;
    const aged = bestRank < best.number && callClass.running < callClass.policy.concurrency;
    if (aged) return oldest;
    const flow = bestFlow!;
    const late = order === "lifo-under-overload" && now - flow.oldest!.queuedAt > lifoAfterMs;
    return late ? flow.newest : flow.oldest;
  }

  /** Sheds the newest call of the lowest level, for one of a higher level; false if there is none. */
  #displace(levelNumber: number): boolean {
    for (let index = this.#levels.length - 1; index >= 0; index--) {
      const level = this.#levels[index]!;
      if (level.number <= levelNumber) return false;
      const { newest } = level;
      if (!newest) continue;
      this.leave(newest);
      this.#shed(newest, "displaced", this.#retryAfterMs());
      return true;
    }
    return false;
  }

  /** Time in ms until the rates allow a call; takes its tokens if they do now. */
  #waitForRate({ flow, cost }: QueuedCall, now: number): number {
    const { bucket } = flow.callClass;
    if (!this.#bucket && !bucket && !flow.bucket) return 0;
    const waitMs = Math.max(
      this.#bucket?.waitFor(cost, now) ?? 0,
      bucket?.waitFor(cost, now) ?? 0,
      flow.bucket?.waitFor(cost, now) ?? 0,
    );
    if (waitMs > 0) return waitMs;
    this.#bucket?.take(cost);
    bucket?.take(cost);
    flow.bucket?.take(cost);
    return 0;
  }

  /** About the time that calls have waited lately. */
  #retryAfterMs(): number {
    return Math.min(maxRetryMs, Math.max(minRetryMs, Math.ceil(this.#meanWaitMs)));
  }

  #bucketOf({ rate, burst }: QueuePolicy): TokenBucket | undefined {
    if (rate === Number.POSITIVE_INFINITY) return undefined;
    return new TokenBucket(rate, burst, this.#now());
  }

  #makeLevels(): void {
    for (const { policy } of this.#classes.values()) this.#addLevel(policy.level);
  }

  #addLevel(number: number): void {
    if (this.#levels.some((level) => level.number === number)) return;
    this.#levels.push(new Level(number));
    this.#levels.sort((a, b) => a.number - b.number);
  }

  #levelOf({ policy }: CallClass): Level {
    // There are few, and one mostly.
    for (const level of this.#levels) if (level.number === policy.level) return level;
    throw new Error(`there is no level ${policy.level}`);
  }
}

function followsServer({ capacity, adaptive }: QueuePolicy): boolean {
  return adaptive !== undefined && capacity === Number.POSITIVE_INFINITY;
}

function adaptiveOf(policy: QueuePolicy, now: number): AdaptiveLimit | undefined {
  return followsServer(policy) ? new AdaptiveLimit(policy.adaptive!, now) : undefined;
}
