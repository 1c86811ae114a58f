import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import type { Launch } from "./peers/peer.ts";

/** A server that is ready. */
export interface ServerProcess {
  readonly pid: number;
  readonly port: number;
  /** How it ended, with its last lines, or undefined if it has not within this time. */
  endWithin(ms: number): Promise<string | undefined>;
  /** Asks it to end, and ends it after 10 s; settles when it is gone. Further calls do nothing. */
  stop(): Promise<void>;
}

/** Where a server runs. */
export interface StartOptions {
  /** Port that the launch names. */
  readonly port: number;
  readonly core: number;
  /** File for what it writes. */
  readonly logFile: string;
  /** Asks it, if the launch names no URL for that. */
  readonly isReady: (port: number) => Promise<boolean>;
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
  { port, core, logFile, isReady, signal }: StartOptions,
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
  const ended = once(child, "exit").then(([code, signalName]) => {
    const output = readFileSync(logFile, "utf8").trimEnd().split("\n").slice(-shownLines);
    const how = signalName ?? `exit code ${code}`;
    return [`the server ended (${how}); its last lines:`, ...output].join("\n  ");
  });
  const endWithin = (ms: number) => Promise.race([ended, wait(ms, undefined, { ref: false })]);
  const kill = () => endGroup(pid);
  process.once("exit", kill);
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopped ??= stopChild(child, ended, pid).finally(() => process.off("exit", kill));
    return stopped;
  };
  try {
    await waitUntilReady(endWithin, launch, () => isReady(port), signal);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid, port, endWithin, stop };
}

async function waitUntilReady(
  endWithin: ServerProcess["endWithin"],
  { readyUrl }: Launch,
  isReady: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const limit = performance.now() + readyWithinMs;
  while (!(readyUrl === undefined ? await isReady() : await answersOk(readyUrl))) {
    if (performance.now() > limit) {
      throw new Error(`the server was not ready within ${readyWithinMs / 1000} s`);
    }
    const end = await endWithin(pollMs);
    if (end !== undefined) throw new Error(end);
    signal.throwIfAborted();
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

async function stopChild(child: ChildProcess, ended: Promise<string>, pid: number): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => endGroup(pid), stopWithinMs);
  await ended;
  clearTimeout(timer);
  // What a server leaves behind would take time from the next one.
  endGroup(pid);
}

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing is left of the group.
  }
}
