import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  CallState,
  type ClassLimits,
  type Limits,
  QueueService,
} from "../../gen/tensorwire/queue/v1/queue_pb.ts";
import {
  callClassUnknown,
  queueControlNotLocal,
  queueLimitInvalid,
} from "../errors/proxy-errors.ts";
import { peerKey } from "../wire/peer.ts";
import type { ListedCall } from "./proxy-host.ts";
import type { CallClass } from "./queue/flow.ts";
import type { QueueProxy } from "./queue-proxy.ts";

const infinity = Number.POSITIVE_INFINITY;
const maxTenants = 100;
const defaultPageSize = 100;
const maxPageSize = 1000;

/** Serves tensorwire.queue.v1.QueueService of a proxy. */
export function registerQueueService(
  router: ConnectRouter,
  proxy: Pick<QueueProxy, "queue" | "calls" | "drainer">,
  control: "local" | "remote",
): void {
  const { queue, calls, drainer } = proxy;
  router.service(QueueService, {
    getQueue: () => ({
      limits: limitsOf(),
      running: queue.running,
      waiting: queue.waiting,
      waitingBytes: BigInt(queue.waitingBytes),
      classes: [...queue.classes.values()]
        .sort(({ policy: a }, { policy: b }) => a.level - b.level || (a.name < b.name ? -1 : 1))
        .map(stateOf),
      draining: drainer.draining,
    }),
    listCalls({ pageSize }) {
      if (pageSize > maxPageSize) throw queueLimitInvalid("page_size", pageSize, "1 to 1000");
      const shown: ReturnType<typeof callOf>[] = [];
      for (const call of calls) {
        if (shown.length >= (pageSize || defaultPageSize)) break;
        shown.push(callOf(call));
      }
      return { calls: shown, total: calls.size };
    },
    updateLimits({ limits }, context) {
      checkNear(context, "UpdateLimits");
      const { policy } = queue;
      const rate = rateOf("rate", limits?.rate, policy.rate);
      queue.change({
        ...policy,
        capacity: unlimited(limits?.concurrency, policy.capacity),
        maxWaiting: limits?.waiting ?? policy.maxWaiting,
        maxWaitingBytes: unlimited(
          limits?.waitingBytes === undefined ? undefined : Number(limits.waitingBytes),
          policy.maxWaitingBytes,
        ),
        rate,
        burst: burstOf(limits, rate, policy.burst),
      });
      return { limits: limitsOf() };
    },
    updateClass({ name, limits }, context) {
      checkNear(context, "UpdateClass");
      const callClass = queue.classes.get(name);
      if (!callClass) throw callClassUnknown(name, [...queue.classes.keys()]);
      const { policy } = callClass;
      const weight = limits?.weight ?? policy.weight;
      if (!(weight > 0 && weight < infinity)) {
        throw queueLimitInvalid("weight", weight, "a number above 0");
      }
      const rate = rateOf("rate", limits?.rate, policy.rate);
      queue.changeClass(callClass, {
        ...policy,
        weight,
        concurrency: unlimited(limits?.concurrency, policy.concurrency),
        maxWaiting: limits?.waiting ?? policy.maxWaiting,
        maxWaitMs: unlimited(limits?.maxWaitMs, policy.maxWaitMs),
        rate,
        burst: burstOf(limits, rate, policy.burst),
      });
      return { state: stateOf(callClass) };
    },
  });

  function checkNear(context: HandlerContext, what: string): void {
    if (control === "local" && !context.values.get(peerKey).local) throw queueControlNotLocal(what);
  }

  function limitsOf() {
    const { capacity, maxWaiting, maxWaitingBytes, rate, burst } = queue.policy;
    return {
      concurrency: finite(capacity),
      ...(maxWaiting === infinity ? {} : { waiting: maxWaiting }),
      waitingBytes: BigInt(finite(maxWaitingBytes)),
      rate: finite(rate),
      burst: finite(burst),
    };
  }
}

/** 0 in a message is without a limit. */
function unlimited(given: number | undefined, before: number): number {
  if (given === undefined) return before;
  return given === 0 ? infinity : given;
}

function finite(limit: number): number {
  return limit === infinity ? 0 : limit;
}

function rateOf(name: string, given: number | undefined, before: number): number {
  if (given === undefined) return before;
  if (given >= 0 && given < infinity) return given === 0 ? infinity : given;
  throw queueLimitInvalid(name, given, "a number of at least 0");
}

/** A burst of its own, else that of a rate that stays, else as much as a second brings. */
function burstOf(limits: Limits | ClassLimits | undefined, rate: number, before: number): number {
  const given = limits?.burst;
  if (given === undefined || given === 0) return limits?.rate === undefined ? before : rate;
  if (given > 0 && given < infinity) return given;
  throw queueLimitInvalid("burst", given, "a number above 0");
}

function stateOf({ policy, running, waiting, flows }: CallClass) {
  const { maxWaiting } = policy;
  return {
    name: policy.name,
    level: policy.level,
    limits: {
      weight: policy.weight,
      concurrency: finite(policy.concurrency),
      ...(maxWaiting === infinity ? {} : { waiting: maxWaiting }),
      maxWaitMs: finite(policy.maxWaitMs),
      rate: finite(policy.rate),
      burst: finite(policy.burst),
    },
    running,
    waiting,
    tenants: [...flows.values()]
      .filter((flow) => flow.running > 0 || flow.length > 0)
      .sort((a, b) => b.length - a.length)
      .slice(0, maxTenants)
      .map((flow) => ({ name: flow.tenant, running: flow.running, waiting: flow.length })),
  };
}

function callOf({ head, flow, waits, arrivedAt, requestBytes, responseBytes }: ListedCall) {
  return {
    path: head.path.split("?", 1)[0]!,
    className: flow.callClass.policy.name,
    tenant: flow.tenant,
    state: waits ? CallState.WAITING : CallState.RUNNING,
    ageMs: performance.now() - arrivedAt,
    requestBytes: BigInt(requestBytes),
    responseBytes: BigInt(responseBytes),
  };
}
