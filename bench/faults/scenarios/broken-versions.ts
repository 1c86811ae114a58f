import { cpSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accountedClients } from "../accounted-client.ts";
import { AccountedLoad } from "../accounted-load.ts";
import { lookup } from "../known-calls.ts";
import { Ledger } from "../ledger.ts";
import {
  accounted,
  addressOf,
  leavesNothing,
  type Scenario,
  withFaultServer,
} from "../scenario.ts";

/** Status of a load, and its reason if it was refused. */
async function load(port: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/v2/repository/models/lookup/load`, {
    method: "POST",
    headers: { connection: "close" },
  });
  const text = await response.text();
  return response.ok ? "loaded" : (JSON.parse(text) as { reason: string }).reason;
}

/** Files of a model that are corrupt or gone when it is loaded again: what serves goes on. */
export const brokenVersions: Scenario = {
  name: "broken-versions",
  about: "a model is loaded again while its file is corrupt, gone and whole; no call fails",
  run: ({ random, rounds }) =>
    withFaultServer([], async (server, models) => {
      const ledger = new Ledger([]);
      const ends: string[] = [];
      const version = join(models, "lookup", "1");
      const file = join(version, "model.onnx");
      const whole = join(models, "..", `${server.port}-whole.onnx`);
      cpSync(file, whole);
      const left = await leavesNothing(server, async () => {
        const calls = new AccountedLoad(accountedClients(addressOf(server), ledger, 2), {
          callsEach: 4,
          calls: [lookup],
          random,
        });
        for (let round = 0; round < rounds; round++) {
          await calls.answered(20);
          writeFileSync(file, Buffer.from(Array.from({ length: 200 }, () => random.whole(256))));
          ends.push(await load(server.port));
          await calls.answered(20);
          renameSync(file, `${file}.away`);
          ends.push(await load(server.port));
          await calls.answered(20);
          cpSync(whole, file);
          ends.push(await load(server.port));
        }
        await calls.answered(20);
        await calls.end();
      });
      rmSync(whole);
      const wanted = ["MODEL_LOAD_FAILED", "MODEL_LOAD_FAILED", "loaded"];
      return [
        accounted("while versions are broken", ledger, 2 * rounds * 60),
        {
          name: "what is broken is refused, what is whole is loaded",
          holds: ends.every((end, index) => end === wanted[index % wanted.length]),
          detail: ends.join(", "),
        },
        ...left,
      ];
    }),
};
