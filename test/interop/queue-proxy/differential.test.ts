import { setTimeout as wait } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import test, { type ExecutionContext } from "ava";
import {
  type ProxyEnvironment,
  type RunningProxy,
  startQueueProxy,
} from "../../queue-proxy/start-queue-proxy.ts";
import { startUserServer } from "../../queue-proxy/start-user-server.ts";
import { deadPort } from "../../wire/client/start-peers.ts";
import {
  idleTimeoutGroup,
  overloadGroup,
  startTimeoutGroup,
  totalTimeoutGroup,
} from "./bounded-exchanges.ts";
import type { Exchange, ExchangeGroup, Sides } from "./exchange.ts";
import { drainGroup, faultGroup, readinessGroup } from "./fault-exchanges.ts";
import { hasOriginal, startOriginal, unpackOriginal } from "./peers.ts";
import { plainGroup } from "./plain-exchanges.ts";

// What Knative's own queue-proxy does, and what ours does, call by call. The original has fixed ports, so
// the groups run one after the other.
const maybe = hasOriginal ? test.serial : test.serial.skip;
const without = hasOriginal ? "" : " (TENSORWIRE_PEERS names no folder of knative-queue-proxy.xz)";

const groups: readonly ExchangeGroup[] = [
  plainGroup,
  overloadGroup,
  totalTimeoutGroup,
  startTimeoutGroup,
  idleTimeoutGroup,
  faultGroup,
  drainGroup,
  ...[
    ["a probe of HTTP that succeeds", { httpGet: { path: "/status?n=302", scheme: "HTTP" } }],
    [
      "a probe of HTTP that fails",
      { httpGet: { path: "/status?n=404", scheme: "HTTP" }, periodSeconds: 1, timeoutSeconds: 1 },
    ],
    [
      "a probe of a port that is closed",
      { tcpSocket: { port: 1 }, periodSeconds: 1, timeoutSeconds: 1 },
    ],
    ["a probe of gRPC", { grpc: { service: "" }, periodSeconds: 1, timeoutSeconds: 1 }],
    ["two successes in a row", { httpGet: { path: "/echo", scheme: "HTTP" }, successThreshold: 2 }],
  ].map(([name, probe]) => readinessGroup(name as string, probe as object)),
];

for (const group of groups) {
  maybe(
    `${group.name}: ${group.exchanges.length} exchanges as with Knative's queue-proxy${without}`,
    async (t) => {
      t.timeout(240_000);
      const theirs = await results(t, group, "original");
      const ours = await results(t, group, "ours");
      const problems = group.exchanges.flatMap(
        (exchange, index) => problemOf(exchange, theirs[index], ours[index]) ?? [],
      );
      t.deepEqual(problems, []);
    },
  );
}

/** What is not as it should be; `undefined` if all is well. */
function problemOf(exchange: Exchange, theirs: unknown, ours: unknown): unknown {
  const { name, differs } = exchange;
  if (!differs) return isDeepStrictEqual(ours, theirs) ? undefined : { name, ours, theirs };
  const expected = differs.ours;
  if (!isDeepStrictEqual(ours, expected)) return { name, ours, expected };
  // A difference that is none any more is taken off the list.
  return isDeepStrictEqual(theirs, ours) ? { name, differsNoMore: differs.why } : undefined;
}

async function results(
  t: ExecutionContext,
  group: ExchangeGroup,
  which: "original" | "ours",
): Promise<readonly unknown[]> {
  const teardowns: (() => unknown)[] = [];
  const scope = { teardown: (action: () => unknown) => void teardowns.push(action) };
  try {
    const user = await startUserServer(scope);
    const proxy = await start(scope, group, which, user.port);
    const answers: unknown[] = [];
    for (const exchange of group.exchanges) {
      answers.push(await attempt(exchange, { proxy, user }));
    }
    return answers;
  } finally {
    for (const teardown of teardowns.reverse()) await teardown();
    t.log(`${group.name}: ${which} is done`);
  }
}

async function start(
  scope: { teardown: (action: () => unknown) => void },
  group: ExchangeGroup,
  which: "original" | "ours",
  userPort: number,
): Promise<RunningProxy> {
  const env = withUserPort(group.env, userPort);
  if (which === "ours") return startQueueProxy(scope, userPort, env, group.flags);
  return startOriginal(scope, unpackOriginal(scope), userPort, await deadPort(), env);
}

/** Time for one exchange, in ms; none takes as long. */
const exchangeMs = 30_000;

async function attempt(exchange: Exchange, sides: Sides): Promise<unknown> {
  try {
    const late = wait(exchangeMs, { late: `${exchangeMs} ms` }, { ref: false });
    return await Promise.race([exchange.run(sides), late]);
  } catch (error) {
    return { threw: String(error) };
  }
}

/** Probes name the port of the server, as Knative writes them. */
function withUserPort(env: ProxyEnvironment, userPort: number): ProxyEnvironment {
  const text = env.SERVING_READINESS_PROBE;
  if (text === undefined) return env;
  const probe = JSON.parse(text) as Record<string, unknown>;
  for (const kind of ["httpGet", "tcpSocket", "grpc"]) {
    if (typeof probe[kind] !== "object") continue;
    probe[kind] = { host: "127.0.0.1", port: userPort, ...probe[kind] };
    if (kind === "grpc") delete (probe[kind] as Record<string, unknown>).host;
  }
  return { ...env, SERVING_READINESS_PROBE: JSON.stringify(probe) };
}
