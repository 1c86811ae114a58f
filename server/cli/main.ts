import "./heap-flags.ts";
import { readFileSync } from "node:fs";
import { endProcess } from "../lifecycle/end-process.ts";
import { dispatch } from "./dispatch.ts";
import { inferCommand } from "./infer.ts";
import { keysCommand } from "./keys.ts";
import { modelsCommand } from "./models.ts";
import { optimizeCommand } from "./optimize.ts";
import type { Program, TextSink } from "./program.ts";
import { queueProxyCommand } from "./queue-proxy.ts";
import { scalerCommand } from "./scaler.ts";
import { serveCommand } from "./serve.ts";
import { simulateCommand } from "./simulate.ts";

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

const exitCode = await dispatch(
  [
    serveCommand,
    inferCommand,
    modelsCommand,
    optimizeCommand,
    keysCommand,
    simulateCommand,
    scalerCommand,
    queueProxyCommand,
  ],
  process.argv.slice(2),
  {
    env: process.env,
    readFile: (path) => readFileSync(path, "utf8"),
    stdout: sinkOf(process.stdout),
    stderr: sinkOf(process.stderr),
    events: process,
    restart,
  },
);
// Worker threads and open connections would keep the program up after a failed start.
endProcess(exitCode);
