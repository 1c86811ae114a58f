import { setTimeout as wait } from "node:timers/promises";
import { AccountedClient, accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { addSub, identity, lookup, unruly } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  leavesNothing,
  type Scenario,
  withFaultServer,
} from "../scenario.ts";

/** What ends the thread of a model. */
const fatal = ["exit", "throw later", "fill memory"];

/** A model in TypeScript ends its own thread, again and again; other models must not notice. */
export const modelThreads: Scenario = {
  name: "model-threads",
  about:
    "a model's thread exits, throws, runs out of memory and (--patience long) hangs; it comes back, others must not notice",
  run: ({ random, rounds, patience, tell }) =>
    withFaultServer([], async (server) => {
      const address = addressOf(server);
      const beside = new Ledger([]);
      const same = new Ledger(["WORKER_LOST"]);
      const deadly = new Ledger(["WORKER_LOST", "cancelled"]);
      const left = await leavesNothing(server, async () => {
        const others = new AccountedLoad(accountedClients(address, beside, 2), {
          callsEach: 2,
          calls: [addSub, identity, lookup],
          random,
        });
        const load = new AccountedLoad(accountedClients(address, same, 1), {
          callsEach: 4,
          calls: [unruly("")],
          random,
        });
        const client = new AccountedClient(address, deadly);
        await load.answered(10);
        for (let round = 0; round < rounds; round++) {
          for (const order of fatal) {
            await client.begin(unruly(order)(random)).ended;
            tell(`${order}: ${same.summary()}`);
            await load.answered(10);
          }
        }
        if (patience === "long") {
          const call = client.begin(unruly("hang")(random));
          await wait(100);
          call.cancel();
          await load.answered(10);
          tell(`hang: ${same.summary()}`);
        }
        await Promise.all([load.end(), others.end()]);
        client.close();
      });
      const lost = deadly.errors.get("WORKER_LOST") ?? 0;
      return [
        accounted("other models", beside, 40),
        accounted("the model itself", same, 40),
        accounted("deadly calls", deadly, 0),
        {
          name: "each deadly call ended the thread",
          holds: lost === 2 * rounds * fatal.length,
          detail: `${lost} times`,
        },
        ...left,
      ];
    }),
};
