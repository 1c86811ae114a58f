import { accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { addSub, badLookup, lookup, unruly } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  leavesNothing,
  type Scenario,
  withFaultServer,
} from "../scenario.ts";

const answersOfARound = 300;

/** Calls on which a model fails; those that share a run with them are answered all the same. */
export const throwingModels: Scenario = {
  name: "throwing-models",
  about: `models fail on some calls while ${answersOfARound} others a round, of the same runs too, are answered`,
  run: ({ random, rounds }) =>
    withFaultServer([], async (server) => {
      const good = new Ledger([]);
      const bad = new Ledger(["MODEL_EXECUTION_FAILED"]);
      const left = await leavesNothing(server, async () => {
        const address = addressOf(server);
        const load = new AccountedLoad(accountedClients(address, good, 2), {
          callsEach: 8,
          calls: [lookup, lookup, addSub, unruly("")],
          random,
        });
        const failing = new AccountedLoad(accountedClients(address, bad, 2), {
          callsEach: 2,
          calls: [badLookup, badLookup, unruly("throw")],
          random,
        });
        await load.answered(rounds * answersOfARound);
        await Promise.all([load.end(), failing.end()]);
      });
      const failures = bad.errors.get("MODEL_EXECUTION_FAILED") ?? 0;
      return [
        accounted("good", good, 2 * rounds * answersOfARound),
        accounted("bad", bad, 0),
        { name: "models did fail", holds: failures > 10, detail: `${failures} times` },
        ...left,
      ];
    }),
};
