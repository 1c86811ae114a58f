import type { ClassPolicy } from "./queue-policy.ts";
import type { QueuedCall } from "./queued-call.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Calls that are treated alike, and share what their policy gives them. */
export class CallClass {
  policy: ClassPolicy;
  running = 0;
  waiting = 0;
  bucket: TokenBucket | undefined;
  readonly flows = new Map<string, Flow>();
  /** Moving mean of the time that the server takes for a call, in ms, and when it was last told. */
  #meanServiceMs = 0;
  #servedAt = 0;

  constructor(policy: ClassPolicy, now: number) {
    this.policy = policy;
    this.bucket = bucketOf(policy.rate, policy.burst, now);
  }

  /** Sets other limits; what they count begins anew. */
  change(policy: ClassPolicy, now: number): void {
    this.policy = policy;
    this.bucket = bucketOf(policy.rate, policy.burst, now);
    for (const flow of this.flows.values()) {
      flow.bucket = bucketOf(policy.tenantRate, policy.tenantBurst, now);
    }
  }

  /** The server has taken so long for a call. */
  onServed(serviceMs: number, now: number): void {
    this.#meanServiceMs += (serviceMs - this.#meanServiceMs) / (this.#meanServiceMs === 0 ? 1 : 16);
    this.#servedAt = now;
  }

  /**
   * Time that a call will take, as far as can be told. It halves with each second without a call: else a
   * class whose calls all seem too late would never find out that the server has become faster.
   */
  expectedMs(now: number): number {
    return this.#meanServiceMs * 0.5 ** Math.floor((now - this.#servedAt) / 1000);
  }

  /** Calls of one tenant; those of tenants beyond `maxTenants` are taken together. */
  flowOf(tenant: string, maxTenants: number, now: number): Flow {
    let flow = this.flows.get(tenant);
    if (flow) return flow;
    if (this.flows.size >= maxTenants) this.#forgetIdle();
    if (this.flows.size >= maxTenants) {
      flow = this.flows.get("");
      if (flow) return flow;
      return this.#add("", now);
    }
    return this.#add(tenant, now);
  }

  #add(tenant: string, now: number): Flow {
    const { tenantRate, tenantBurst } = this.policy;
    const flow = new Flow(this, tenant, bucketOf(tenantRate, tenantBurst, now));
    this.flows.set(tenant, flow);
    return flow;
  }

  #forgetIdle(): void {
    for (const [tenant, flow] of this.flows) {
      if (flow.length === 0 && flow.running === 0) this.flows.delete(tenant);
    }
  }
}

/** Calls of one tenant in one class: what fair queueing is fair between. */
export class Flow {
  readonly callClass: CallClass;
  readonly tenant: string;
  bucket: TokenBucket | undefined;
  /** Calls that wait, oldest first. */
  oldest: QueuedCall | undefined = undefined;
  newest: QueuedCall | undefined = undefined;
  length = 0;
  running = 0;
  /** Virtual time at which its next call begins, and at which what was served ended. */
  startTag = 0;
  finishTag = 0;

  constructor(callClass: CallClass, tenant: string, bucket: TokenBucket | undefined) {
    this.callClass = callClass;
    this.tenant = tenant;
    this.bucket = bucket;
  }

  push(call: QueuedCall): void {
    call.flowBefore = this.newest;
    call.flowAfter = undefined;
    if (this.newest) this.newest.flowAfter = call;
    else this.oldest = call;
    this.newest = call;
    this.length++;
  }

  remove(call: QueuedCall): void {
    const { flowBefore, flowAfter } = call;
    if (flowBefore) flowBefore.flowAfter = flowAfter;
    else this.oldest = flowAfter;
    if (flowAfter) flowAfter.flowBefore = flowBefore;
    else this.newest = flowBefore;
    call.flowBefore = undefined;
    call.flowAfter = undefined;
    this.length--;
  }
}

function bucketOf(rate: number, burst: number, now: number): TokenBucket | undefined {
  return rate === Number.POSITIVE_INFINITY ? undefined : new TokenBucket(rate, burst, now);
}
