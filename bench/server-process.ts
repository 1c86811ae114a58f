import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import type { Launch } from "./peers/peer.ts";
import { isServerReady } from "./server-questions.ts";

/** A server that is ready. */
export interface ServerProcess {
  readonly pid: number;
  readonly port: number;
  /** @throws Error with its exit code and the end of its output if it has ended */
  requireAlive(): void;
  /** Asks it to end, and ends it after 10 s; settles when it is gone. */
  stop(): Promise<void>;
}

/** Where a server runs. */
export interface StartOptions {
  /** Port that the launch names. */
  readonly port: number;
  readonly core: number;
  /** File for what it writes. */
  readonly logFile: string;
  /** Ends the wait for it. */
  readonly signal: AbortSignal;
}

const readyWithinMs = 120_000;
const pollMs = 100;
const stopWithinMs = 10_000;
/** Lines of a server's output that an error shows. */
const shownLines = 15;

/**
 * Starts a server on one core and waits until it is ready.
 * @throws Error if it ends, with the last lines of its output, or is not ready within two minutes
 */
export async function startServer(
  launch: Launch,
  { port, core, logFile, signal }: StartOptions,
): Promise<ServerProcess> {
  const log = openSync(logFile, "w");
  const child = spawn("taskset", ["-c", `${core}`, launch.command, ...launch.args], {
    env: { ...process.env, ...launch.env },
    stdio: ["ignore", log, log],
    // A process group of its own, so that its children can be ended with it.
    detached: true,
  });
  closeSync(log);
  await once(child, "spawn");
  const pid = child.pid!;
  const kill = () => endGroup(pid, "SIGKILL");
  process.once("exit", kill);
  const stop = async (): Promise<void> => {
    await stopChild(child, pid);
    process.off("exit", kill);
  };
  const requireAlive = (): void => {
    if (!hasEnded(child)) return;
    const output = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-shownLines);
    const how = child.exitCode === null ? child.signalCode : `exit code ${child.exitCode}`;
    throw new Error([`the server ended (${how}); its last lines:`, ...output].join("\n  "));
  };
  try {
    await waitUntilReady(requireAlive, launch, port, signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid, port, requireAlive, stop };
}

async function waitUntilReady(
  requireAlive: () => void,
  { readyUrl }: Launch,
  port: number,
  signal: AbortSignal,
): Promise<void> {
  const end = performance.now() + readyWithinMs;
  for (;;) {
    requireAlive();
    if (readyUrl === undefined ? await isServerReady(port) : await answersOk(readyUrl)) return;
    if (performance.now() > end) {
      throw new Error(`the server was not ready within ${readyWithinMs / 1000} s`);
    }
    await wait(pollMs, undefined, { signal });
  }
}

async function answersOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    // Nothing listens yet.
    return false;
  }
}

async function stopChild(child: ChildProcess, pid: number): Promise<void> {
  if (!hasEnded(child)) {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => endGroup(pid, "SIGKILL"), stopWithinMs);
    await ended;
    clearTimeout(timer);
  }
  // What a server left behind would take time from the next one.
  endGroup(pid, "SIGKILL");
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

function endGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Nothing is left of the group.
  }
}
