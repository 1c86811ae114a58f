import test from "ava";
import { InferenceError } from "../../clients/typescript/src/node.ts";
import type { Command } from "../../server/cli/command.ts";
import { dispatch } from "../../server/cli/dispatch.ts";
import { inferCommand } from "../../server/cli/infer.ts";
import { modelsCommand } from "../../server/cli/models.ts";
import { packageVersion } from "../../server/cli/package-version.ts";
import { serveCommand } from "../../server/cli/serve.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { recordingProgram } from "./recording-program.ts";

function commandThat(run: Command["run"]): Command {
  return {
    name: "work",
    summary: "works",
    usage: "",
    description: [],
    examples: [],
    settings: {},
    run,
  };
}

const commands = [serveCommand, inferCommand, modelsCommand];

test("a command gets the arguments behind its name and decides the exit code", async (t) => {
  const program = recordingProgram();
  const seen: unknown[] = [];
  const work = commandThat(async (argv, given) => {
    seen.push(argv, given);
    return 7;
  });
  t.is(await dispatch([work], ["work", "--a", "b"], program), 7);
  t.deepEqual(seen[0], ["--a", "b"]);
  t.is(seen[1], program);
});

test("an unknown command exits with 2 and names the nearest", async (t) => {
  const program = recordingProgram();
  t.is(await dispatch(commands, ["srve"], program), 2);
  t.is(program.written(), "");
  t.regex(program.complained(), /^tensorwire: unknown command srve; did you mean serve\?\n/);
});

test("--version and version print the version of the package", async (t) => {
  for (const argument of ["--version", "version"]) {
    const program = recordingProgram();
    t.is(await dispatch(commands, [argument], program), 0);
    t.true(program.written().startsWith(`tensorwire ${packageVersion()} `));
  }
});

for (const argv of [["--help"], ["-h"], ["help"], ["help", "--help"], ["help", "version"]]) {
  test(`${argv.join(" ")} prints the help of the program`, async (t) => {
    const program = recordingProgram();
    t.is(await dispatch(commands, argv, program), 0);
    for (const { name, summary } of commands)
      t.regex(program.written(), new RegExp(`${name} +${summary}`));
    t.is(program.complained(), "");
  });
}

for (const argv of [
  ["help", "serve"],
  ["serve", "--help"],
  ["serve", "./models", "-h"],
]) {
  test(`${argv.join(" ")} prints the help of serve`, async (t) => {
    const program = recordingProgram();
    t.is(await dispatch(commands, argv, program), 0);
    t.regex(program.written(), /^tensorwire serve: /);
  });
}

test("--help behind -- is an argument", async (t) => {
  const program = recordingProgram();
  let given: readonly string[] = [];
  const work = commandThat(async (argv) => {
    given = argv;
    return 0;
  });
  await dispatch([work], ["work", "--", "--help"], program);
  t.deepEqual(given, ["--", "--help"]);
});

test("without arguments the help goes to stderr, with exit code 2", async (t) => {
  const program = recordingProgram();
  t.is(await dispatch(commands, [], program), 2);
  t.is(program.written(), "");
  t.regex(program.complained(), /Usage/);
});

test("help of an unknown command exits with 2", async (t) => {
  const program = recordingProgram();
  t.is(await dispatch(commands, ["help", "model"], program), 2);
  t.regex(program.complained(), /did you mean models\?/);
});

const failures = [
  [new TensorwireError("SETTING_INVALID", "a\nb"), 2, "tensorwire: a\ntensorwire: b\n"],
  [new TensorwireError("LISTEN_FAILED", "taken"), 3, "tensorwire: taken\n"],
  [new TensorwireError("REPOSITORY_UNREADABLE", "gone"), 4, "tensorwire: gone\n"],
  [new TensorwireError("MODEL_NOT_FOUND", "none"), 1, "tensorwire: none\n"],
  [new InferenceError("down", { code: "UNAVAILABLE" }), 1, "tensorwire: down (UNAVAILABLE)\n"],
  [
    new InferenceError("no", { code: "NOT_FOUND", reason: "MODEL_NOT_FOUND" }),
    1,
    "tensorwire: no (NOT_FOUND, MODEL_NOT_FOUND)\n",
  ],
] as const;

for (const [error, exitCode, text] of failures) {
  test(`a command that fails with ${JSON.stringify(text)} exits with ${exitCode}`, async (t) => {
    const program = recordingProgram();
    const work = commandThat(async () => {
      throw error;
    });
    t.is(await dispatch([work], ["work"], program), exitCode);
    t.true(program.complained().startsWith(text));
    t.is(program.written(), "");
  });
}

test("wrong usage points to the help of the command", async (t) => {
  const program = recordingProgram();
  t.is(await dispatch(commands, ["serve", "--prot", "1", "x"], program), 2);
  t.is(
    program.complained(),
    "tensorwire: unknown flag --prot; did you mean --port?\nSee tensorwire help serve.\n",
  );
});

test("a defect prints its trace", async (t) => {
  const program = recordingProgram();
  const work = commandThat(async () => {
    throw new TypeError("x is not a function");
  });
  t.is(await dispatch([work], ["work"], program), 1);
  t.regex(program.complained(), /TypeError: x is not a function\n.* at /);
});
