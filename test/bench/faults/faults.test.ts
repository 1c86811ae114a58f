import test from "ava";
import { Ledger } from "../../../bench/faults/ledger.ts";
import { readFaultOptions } from "../../../bench/faults/options.ts";
import { scenarios } from "../../../bench/faults/scenarios/scenarios.ts";
import { Random } from "../../../bench/soak/random.ts";

const seed = Number(process.env.TENSORWIRE_FAULTS_SEED ?? Math.floor(Math.random() * 2 ** 31));

for (const { name, about, run } of scenarios) {
  test.serial(`${name}: ${about}`, async (t) => {
    t.timeout(120_000);
    t.log(`seed ${seed}`);
    const checks = await run({
      rounds: 1,
      patience: "short",
      random: new Random(seed),
      tell: (line) => t.log(line),
    });
    t.true(checks.length > 0);
    for (const { name: what, holds, detail } of checks) t.true(holds, `${what}: ${detail}`);
  });
}

test("a ledger tells answered, allowed, wrong and lost calls apart", (t) => {
  const ledger = new Ledger(["WORKER_LOST"]);
  ledger.begun = 5;
  ledger.answered = 1;
  ledger.failed("WORKER_LOST", "");
  ledger.failed("INTERNAL", "something else");
  ledger.wrong("other contents");
  t.is(ledger.lost, 1);
  t.is(ledger.wrongCount, 2);
  t.deepEqual(ledger.wrongs, ["INTERNAL: something else", "other contents"]);
  t.is(ledger.summary(), "5 calls: 1 answered, 1 WORKER_LOST, 2 wrong, 1 without an end");
});

test("options that make no sense are refused by name", (t) => {
  t.throws(() => readFaultOptions(["--rounds", "none"]), { message: /--rounds is "none"/ });
  t.throws(() => readFaultOptions(["--patience", "endless"]), { message: /--patience/ });
  t.deepEqual(readFaultOptions(["--list"]), { kind: "list" });
});
