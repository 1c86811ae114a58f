import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { SoakedServer } from "../../soak/soaked-server.ts";
import { AccountedClient, type CallUnderWay } from "../accounted-client.ts";
import { AccountedLoad, type Callee } from "../accounted-load.ts";
import { writeFaultModels } from "../fault-models.ts";
import { addSub, identity, type KnownCall, lookup, slow, unruly } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import { accounted, addressOf, type Scenario } from "../scenario.ts";

/** Time from SIGTERM in which a server is not ready and still takes calls. */
const drainDelay = "1s";
const connections = 4;

/** Sends calls to the server that is ready, as a Service of Kubernetes sends connections. */
class Endpoint implements Callee {
  readonly #ledger: Ledger;
  readonly #underWay = new Set<Promise<boolean>>();
  #client: AccountedClient;

  constructor(address: string, ledger: Ledger) {
    this.#ledger = ledger;
    this.#client = new AccountedClient(address, ledger);
  }

  begin(call: KnownCall): CallUnderWay {
    const begun = this.#client.begin(call);
    this.#underWay.add(begun.ended);
    void begun.ended.then(() => this.#underWay.delete(begun.ended));
    return begun;
  }

  /** Begins no more calls at the old address; those under way go on. */
  moveTo(address: string): void {
    const old = this.#client;
    this.#client = new AccountedClient(address, this.#ledger);
    void Promise.all(this.#underWay).then(() => old.close());
  }

  close(): void {
    this.#client.close();
  }
}

async function isReady({ port }: SoakedServer): Promise<boolean> {
  const headers = { connection: "close" };
  const response = await fetch(`http://127.0.0.1:${port}/health/ready`, { headers });
  await response.arrayBuffer();
  return response.ok;
}

/** Servers take each other's place under load, as pods of a rolling update. */
export const rollingUpdate: Scenario = {
  name: "rolling-update",
  about: `SIGTERM under load once a round, with a successor and --drain-delay ${drainDelay}; no call fails`,
  async run({ random, rounds, tell }) {
    const models = mkdtempSync(join(tmpdir(), "tensorwire-faults-"));
    const start = (): Promise<SoakedServer> =>
      SoakedServer.start({ models, flags: ["--drain-delay", drainDelay] });
    const ledger = new Ledger([]);
    const codes: (number | null)[] = [];
    let serving: SoakedServer | undefined;
    try {
      writeFaultModels(models);
      serving = await start();
      const address = addressOf(serving);
      const endpoints = Array.from({ length: connections }, () => new Endpoint(address, ledger));
      const load = new AccountedLoad(endpoints, {
        callsEach: 4,
        calls: [addSub, identity, lookup, slow, unruly("")],
        random,
      });
      for (let round = 0; round < rounds; round++) {
        await load.answered(50);
        const old = serving;
        const successor = await start();
        const ended = old.stop();
        while (await isReady(old)) await wait(10);
        serving = successor;
        await load.answered(20);
        for (const endpoint of endpoints) endpoint.moveTo(addressOf(serving));
        codes.push(await ended);
        tell(`replaced: ${ledger.summary()}`);
      }
      await load.answered(50);
      await load.end();
    } finally {
      await serving?.stop();
      rmSync(models, { recursive: true, force: true });
    }
    return [
      accounted("through the update", ledger, rounds * 70),
      {
        name: "every old server ended with 0",
        holds: codes.length === rounds && codes.every((code) => code === 0),
        detail: codes.join(", "),
      },
    ];
  },
};
