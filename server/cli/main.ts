import "./heap-flags.ts";
import "./light-globals.ts";
import { readFileSync } from "node:fs";
import { endProcess } from "../lifecycle/end-process.ts";
import { commandsFor } from "./commands.ts";
import { dispatch } from "./dispatch.ts";
import type { Program, TextSink } from "./program.ts";

/** Width of what is no terminal. */
const defaultColumns = 80;

function sinkOf(stream: NodeJS.WriteStream): TextSink {
  // A reader that has seen enough, such as `head`, is no failure.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
  return {
    write: (text) => void stream.write(text),
    columns: stream.columns ?? defaultColumns,
    color: stream.isTTY === true && !process.env.NO_COLOR,
  };
}

/** In newer versions of Node only. */
function restart(env: Program["env"]): void {
  const { execve, execPath, execArgv, argv } = process;
  execve?.(execPath, [execPath, ...execArgv, ...argv.slice(1)], env as NodeJS.ProcessEnv);
}

const argv = process.argv.slice(2);
const exitCode = await dispatch(await commandsFor(argv[0]), argv, {
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
  stdout: sinkOf(process.stdout),
  stderr: sinkOf(process.stderr),
  events: process,
  restart,
});
// Worker threads and open connections would keep the program up after a failed start.
endProcess(exitCode);
