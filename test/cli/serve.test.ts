import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";
import { dispatch } from "../../server/cli/dispatch.ts";
import { inferCommand } from "../../server/cli/infer.ts";
import { modelsCommand } from "../../server/cli/models.ts";
import { serveCommand } from "../../server/cli/serve.ts";
import { type RecordingProgram, recordingProgram } from "./recording-program.ts";

const examples = fileURLToPath(new URL("../../examples/models", import.meta.url));
const commands = [serveCommand, inferCommand, modelsCommand];
const quiet = ["--log-level", "error", "--port", "0"];

/** Runs a command to its end. */
async function run(
  argv: readonly string[],
): Promise<{ exitCode: number; program: RecordingProgram }> {
  const program = recordingProgram();
  return { exitCode: await dispatch(commands, argv, program), program };
}

test.serial(
  "serve shows its models, the client commands call them, and a signal ends it",
  async (t) => {
    const server = recordingProgram();
    const ended = dispatch(commands, ["serve", examples, ...quiet], server);
    const screen = await server.writes(/Stop it/);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(screen)![0];
    t.regex(screen, /iris +1 +input FP32\[-1,4\] +label INT64\[-1\], probabilities FP32\[-1,3\]/);

    const models = await run(["models", "--url", url]);
    t.is(models.exitCode, 0);
    t.regex(models.program.written(), /digits +1 +READY +image FP32\[-1,8,8\]/);

    const listed = await run(["models", "--url", url, "--json"]);
    const { models: rows } = JSON.parse(listed.program.written());
    t.deepEqual(
      rows.map(({ name }: { name: string }) => name),
      ["diabetes", "digits", "forest", "identity", "iris"],
    );

    const answer = await run(["infer", "iris", "--url", url, "--input", "input=5.1,3.5,1.4,0.2"]);
    t.is(answer.exitCode, 0);
    t.regex(
      answer.program.written(),
      /^iris version 1 answered in .*\n\nlabel INT64\[1\]\n {2}0\n/,
    );

    const json = await run([
      "infer",
      "identity",
      ...["--url", url, "--input", "INPUT0=[[1,2.5],[3,4]]", "--json"],
    ]);
    t.deepEqual(JSON.parse(json.program.written()).outputs, [
      { name: "OUTPUT0", datatype: "FP32", shape: [2, 2], data: [1, 2.5, 3, 4] },
    ]);

    const classes = await run([
      "infer",
      "iris",
      ...["--url", url, "--input", "input=5.1,3.5,1.4,0.2", "--output", "probabilities"],
      ...["--classes", "1"],
    ]);
    t.regex(classes.program.written(), /0\.98\d+ +0 +setosa\n$/);

    const unknown = await run(["infer", "irs", "--url", url, "--input", "x=1"]);
    t.is(unknown.exitCode, 1);
    t.regex(unknown.program.complained(), /\(NOT_FOUND, MODEL_NOT_FOUND\)/);

    const wrong = await run(["infer", "iris", "--url", url, "--input", "inpt=1"]);
    t.is(wrong.exitCode, 2);
    t.regex(wrong.program.complained(), /did you mean input\?/);

    // The line to copy, pasted.
    const curl = screen.split("\n").find((line) => line.startsWith("curl "))!;
    const { stdout } = await promisify(execFile)("sh", ["-c", curl]);
    t.is(JSON.parse(stdout).model_name, "iris");

    server.events.emit("SIGTERM");
    t.is(await ended, 0);
    t.is(server.events.listenerCount("SIGTERM"), 0);
  },
);

test.serial(
  "a call to a server that is not there fails with 1 and names the address",
  async (t) => {
    const { exitCode, program } = await run(["models", "--url", "http://127.0.0.1:1"]);
    t.is(exitCode, 1);
    t.regex(program.complained(), /127\.0\.0\.1:1/);
  },
);

test.serial("a port that is taken ends serve with 3", async (t) => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  t.teardown(() => other.close());
  const { port } = other.address() as { port: number };
  const { exitCode, program } = await run(["serve", examples, "--port", `${port}`]);
  t.is(exitCode, 3);
  t.regex(program.complained(), new RegExp(`cannot listen on 127.0.0.1:${port}`));
});

test.serial(
  "serve without a repository, and with a folder of files that is not there, is wrong usage",
  async (t) => {
    t.is((await run(["serve", ...quiet])).exitCode, 2);
    const { exitCode, program } = await run([
      "serve",
      examples,
      ...quiet,
      "--static-dir",
      "/no/such",
    ]);
    t.is(exitCode, 2);
    t.regex(program.complained(), /setting static-dir: .*\/no\/such/);
  },
);
