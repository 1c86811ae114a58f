import test from "ava";
import { commandHelp, programHelp } from "../../server/cli/help.ts";
import { inferCommand } from "../../server/cli/infer.ts";
import { keysCommand } from "../../server/cli/keys.ts";
import { modelsCommand } from "../../server/cli/models.ts";
import { serveCommand } from "../../server/cli/serve.ts";
import { environmentName } from "../../server/config/environment-name.ts";
import type { Setting } from "../../server/config/setting.ts";
import { exitCodeMeanings } from "../../server/lifecycle/exit-codes.ts";

const commands = [serveCommand, inferCommand, modelsCommand, keysCommand];
const plain = { columns: 80, color: false };

for (const command of commands) {
  const help = commandHelp(command, plain);
  const flat = help.replace(/\s+/g, " ");

  test(`help of ${command.name} has every setting with its variable and meaning`, (t) => {
    for (const [flag, setting] of Object.entries<Setting>(command.settings)) {
      t.regex(help, new RegExp(`^  --(no-)?${flag}( |$)`, "m"));
      t.true(flat.includes(`[${environmentName(flag)}]`), flag);
      t.true(flat.includes(setting.help), flag);
    }
  });

  test(`help of ${command.name} has at least three examples that begin with the command`, (t) => {
    t.true(command.examples.length >= 3);
    for (const [example] of command.examples) {
      t.true(example.startsWith(`tensorwire ${command.name}`));
      t.true(help.includes(`  ${example}\n`));
    }
  });

  test(`help of ${command.name} has the exit codes`, (t) => {
    for (const [code, meaning] of exitCodeMeanings) {
      t.true(flat.includes(`${code} `), code);
      t.true(flat.includes(meaning), meaning);
    }
  });
}

test("settings of serve stand in groups, in their order", (t) => {
  const groups = [
    "Settings file",
    "Model repository",
    "Execution",
    "Network",
    "TLS",
    "Access",
    "Limits",
    "Lifecycle",
    "Logging",
    "Exit codes",
  ];
  const lines = commandHelp(serveCommand, plain).split("\n");
  t.deepEqual(
    lines.filter((line) => groups.includes(line)),
    groups,
  );
});

test("a default and the other names of a setting stand behind its meaning", (t) => {
  const flat = commandHelp(serveCommand, plain).replace(/\s+/g, " ");
  t.true(flat.includes("Default 8080. Also --http_port. [TENSORWIRE_PORT]"));
  t.true(flat.includes("Default 64MiB. [TENSORWIRE_MAX_MESSAGE_SIZE]"));
});

for (const [columns, limit] of [
  [40, 80],
  [80, 80],
  [90, 90],
  [200, 100],
] as const) {
  test(`on ${columns} columns wrapped lines are at most ${limit} wide`, (t) => {
    const help =
      commandHelp(serveCommand, { columns, color: false }) + programHelp(commands, plain);
    // Examples and flags are not wrapped: they are to be copied.
    const wrapped = help.split("\n").filter((line) => !/^ {2}(--|tensorwire)/.test(line));
    t.deepEqual(
      wrapped.filter((line) => line.length > limit),
      [],
    );
  });
}

test("headings are bold only where colours are shown", (t) => {
  const bold = "\u001b[1m";
  t.true(commandHelp(serveCommand, { columns: 80, color: true }).includes(`${bold}Usage`));
  t.false(commandHelp(serveCommand, plain).includes("\u001b"));
});
