import { Socket } from "node:net";
import type { FromWorker, ToWorker } from "../../server/cluster/messages.ts";
import { Supervisor, type SupervisorOptions } from "../../server/cluster/supervisor.ts";
import type { ProcessEnd, WorkerEvents } from "../../server/cluster/worker-process.ts";
import { type RecordingLog, recordingLog } from "../support/silent-log.ts";
import { type VirtualClock, virtualClock } from "../support/virtual-clock.ts";

/** Settings of the workers of a test. */
export type Settings = { readonly color: string };

/** A process that does what a test says. */
export interface FakeWorker {
  readonly number: number;
  readonly sent: ToWorker<Settings>[];
  readonly sockets: Socket[];
  /** Whether it takes connections when they come; else when the test says `took`. */
  takes: boolean;
  killed: boolean;
  say(message: FromWorker): void;
  end(end: ProcessEnd): void;
}

/** A supervisor with such workers. */
export interface FakeCluster {
  readonly supervisor: Supervisor<Settings>;
  readonly clock: VirtualClock;
  readonly log: RecordingLog;
  /** Every process ever started, in that order. */
  readonly workers: FakeWorker[];
  readonly told: { ready: number; failures: string[]; ends: number[] };
}

/** Makes one and starts it. */
export function startFakes(
  count: number,
  options: Partial<SupervisorOptions<Settings>> = {},
): FakeCluster {
  const clock = virtualClock();
  const log = recordingLog();
  const workers: FakeWorker[] = [];
  const told: FakeCluster["told"] = { ready: 0, failures: [], ends: [] };
  const supervisor = new Supervisor<Settings>({
    count,
    settings: { color: "green" },
    fork(number, events) {
      const worker = fakeWorker(number, events);
      workers.push(worker);
      return {
        pid: 1000 + workers.length,
        send(message, socket) {
          worker.sent.push(message);
          if (!socket) return;
          worker.sockets.push(socket);
          if (worker.takes) events.onMessage({ kind: "took" });
        },
        kill() {
          worker.killed = true;
          worker.end({ kind: "signal", signal: "SIGKILL" });
        },
      };
    },
    after: clock.after,
    now: clock.now,
    random: () => 1,
    answer: async () => undefined,
    onReady: () => told.ready++,
    onWorkerEnd: (number) => told.ends.push(number),
    onFailure: (text) => told.failures.push(text),
    log,
    ...options,
  });
  supervisor.start();
  return { supervisor, clock, log, workers, told };
}

function fakeWorker(number: number, events: WorkerEvents): FakeWorker {
  return {
    number,
    sent: [],
    sockets: [],
    takes: true,
    killed: false,
    say: (message) => events.onMessage(message),
    end: (end) => events.onEnd(end),
  };
}

/** Kinds of what a worker was sent, in order. */
export function kinds(worker: FakeWorker): string[] {
  return worker.sent.map(({ kind }) => kind);
}

/** The first message of a kind. */
export function first<K extends ToWorker<Settings>["kind"]>(
  worker: FakeWorker,
  kind: K,
): ToWorker<Settings> & { kind: K } {
  const found = worker.sent.find((message) => message.kind === kind);
  if (!found) throw new Error(`worker ${worker.number} was sent ${kinds(worker)}, no ${kind}`);
  return found as ToWorker<Settings> & { kind: K };
}

/** Has workers say that they take connections and that their start is done. */
export function bringUp(...workers: readonly FakeWorker[]): void {
  for (const worker of workers) {
    worker.say({ kind: "accepting" });
    worker.say({ kind: "loaded" });
  }
}

/** A socket that is connected to nothing. */
export function anySocket(): Socket {
  return new Socket();
}
