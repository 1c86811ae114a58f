import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";

const bin = fileURLToPath(new URL("../../bin/tensorwire.js", import.meta.url));

/** Those that run. A test run that is broken off does not get to its teardown. */
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A run of the real command. */
export interface RunningCommand {
  readonly process: ChildProcess;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with the exit code when the process has ended and its output is complete. */
  readonly ended: Promise<number | null>;
}

/** Starts `tensorwire` with arguments; it is killed when the test ends. */
export function startCommand(
  t: Pick<ExecutionContext, "teardown">,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): RunningCommand {
  const child = spawn(process.execPath, [bin, ...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = once(child, "close").then(([code]) => code as number | null);
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
    running.delete(child);
  });
  return { process: child, stdout: () => stdout, stderr: () => stderr, ended };
}

/** A serving command. */
export interface RunningServer extends RunningCommand {
  /** `127.0.0.1:39281` */
  readonly address: string;
  readonly url: string;
}

/** Starts `tensorwire serve` on a free port and waits until it says where it listens. */
export async function startServer(
  t: Pick<ExecutionContext, "teardown">,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningServer> {
  const command = startCommand(t, ["serve", ...args, "--port", "0"], env);
  const url = await new Promise<string>((resolve, reject) => {
    const look = (): void => {
      const found = /https?:\/\/[^\s/]+:\d+/.exec(command.stdout());
      if (found) resolve(found[0]);
    };
    command.process.stdout?.on("data", look);
    command.ended.then((code) =>
      reject(new Error(`the server ended with ${code}: ${command.stderr()}`)),
    );
  });
  return { ...command, url, address: url.replace(/^https?:\/\//, "") };
}
