import { setTimeout as wait } from "node:timers/promises";
import { accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { addSub, identity, lookup, slow } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  metricOf,
  type Scenario,
  sumOf,
  withFaultServer,
} from "../scenario.ts";

const workers = 2;

/** Worker processes are killed; what they had is UNAVAILABLE, what the others have is answered. */
export const killedWorkers: Scenario = {
  name: "killed-workers",
  about: `kill -9 to one of ${workers} worker processes, once a round; its calls are UNAVAILABLE and it comes back`,
  run: ({ random, rounds, tell }) =>
    withFaultServer(["--workers", `${workers}`], async (server) => {
      const ledger = new Ledger(["unavailable"]);
      const load = new AccountedLoad(accountedClients(addressOf(server), ledger, 8), {
        callsEach: 2,
        calls: [addSub, identity, lookup, slow],
        random,
      });
      for (let round = 0; round < rounds; round++) {
        await load.answered(100);
        const infos = [...(await metricOf(server, "tensorwire_worker_info")).keys()];
        const pid = Number(/pid="(\d+)"/.exec(random.of(infos))![1]);
        process.kill(pid, "SIGKILL");
        // One that was killed still counts until the supervisor hears of it.
        while ((await sumOf(server, "tensorwire_worker_restarts_total")) <= round) await wait(20);
        await load.answered(20);
        while ((await sumOf(server, "tensorwire_workers_serving")) < workers) await wait(20);
        tell(`killed ${pid}: ${ledger.summary()}`);
      }
      await load.answered(100);
      await load.end();
      // Two clients beside each other reach both: the whole is well again.
      const after = new Ledger([]);
      const healed = new AccountedLoad(accountedClients(addressOf(server), after, 4), {
        callsEach: 2,
        calls: [addSub, identity, lookup, slow],
        random,
      });
      await healed.answered(100);
      await healed.end();
      const refused = ledger.errors.get("unavailable") ?? 0;
      const restarts = await sumOf(server, "tensorwire_worker_restarts_total");
      return [
        accounted("with killed workers", ledger, rounds * 120),
        accounted("afterwards", after, 100),
        {
          name: "calls were under way on those that were killed",
          holds: refused > 0,
          detail: `${refused} were UNAVAILABLE`,
        },
        {
          name: "each was started again once",
          holds: restarts === rounds,
          detail: `${restarts} restarts of ${rounds}`,
        },
      ];
    }),
};
