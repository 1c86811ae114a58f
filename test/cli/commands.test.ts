import test from "ava";
import { commandsFor } from "../../server/cli/commands.ts";

test("the name of a command loads that command, whatever its name in the code", async (t) => {
  const all = (await commandsFor(undefined)).map(({ name }) => name);
  t.true(all.length >= 8 && all[0] === "serve");
  for (const name of all) {
    t.deepEqual(
      (await commandsFor(name)).map((command) => command.name),
      [name],
    );
  }
});

test("what is no command loads all, for help and for the nearest name", async (t) => {
  const all = await commandsFor(undefined);
  for (const argument of ["help", "--help", "srve", "", "constructor", "__proto__"]) {
    t.deepEqual(await commandsFor(argument), all);
  }
});
