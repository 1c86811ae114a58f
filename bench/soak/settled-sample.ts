import { setTimeout as wait } from "node:timers/promises";
import type { ServerSample, SoakedServer } from "./soaked-server.ts";

/** What has to be gone when no call is under way has so long to go, in ms. */
const settleMs = 20_000;

/** A sample after a collection, once what is about to end has ended, or was given the time to. */
export async function settledSample(
  server: SoakedServer,
  connections: number,
): Promise<ServerSample> {
  const limit = performance.now() + settleMs;
  for (;;) {
    const { openStreams, openConnections } = await server.sample();
    if (openStreams === 0 && openConnections <= connections) break;
    if (performance.now() > limit) break;
    await wait(100);
  }
  await server.collectGarbage();
  return server.sample();
}
