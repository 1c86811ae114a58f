import { fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { FromWorker, ToWorker } from "./messages.ts";

/** How a process ended: with a code, or by a signal. */
export type ProcessEnd =
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "signal"; readonly signal: string };

/** Told what a worker's process does. */
export interface WorkerEvents {
  onMessage(message: FromWorker): void;
  /** Once, at the end; also if the process could not be started. */
  onEnd(end: ProcessEnd): void;
}

/** A worker's process as the supervisor sees it; tests give their own. */
export interface WorkerProcess<S> {
  /** `undefined` if it could not be started. */
  readonly pid: number | undefined;
  /** Sends a message, with the socket of a `connection`, which stays open here too. */
  send(message: ToWorker<S>, socket?: Socket): void;
  kill(): void;
}

/** Starts `file` with Node as a worker; its output goes where ours goes. */
export function forkWorker<S>(file: URL, number: number, events: WorkerEvents): WorkerProcess<S> {
  const child = fork(fileURLToPath(file), [`${number}`], { serialization: "advanced" });
  let ended = false;
  const end = (how: ProcessEnd): void => {
    if (ended) return;
    ended = true;
    events.onEnd(how);
  };
  child.on("message", (message) => events.onMessage(message as FromWorker));
  child.on("exit", (code, signal) =>
    end(signal === null ? { kind: "exit", code: code ?? 1 } : { kind: "signal", signal }),
  );
  child.on("error", () => {
    // A message that did not arrive is told of below; a process that never was has no exit.
    if (child.pid === undefined) end({ kind: "exit", code: 1 });
  });
  return {
    pid: child.pid,
    send(message, socket) {
      if (!child.connected) return;
      if (socket === undefined) child.send(message, ignore);
      else child.send(message, socket, { keepOpen: true }, ignore);
    },
    kill: () => void child.kill("SIGKILL"),
  };
}

function ignore(): void {
  // A message that cannot be delivered is one to a process that ends, of which `onEnd` tells.
}
