import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

/** What spread.ts tells a worker. */
export type ToWorker =
  | { readonly kind: "listen"; readonly port: number }
  | { readonly kind: "listener" }
  | { readonly kind: "connection" }
  | { readonly kind: "count" };

/** What a worker tells. */
export type FromWorker =
  | { readonly kind: "up" }
  | { readonly kind: "ready" }
  | { readonly kind: "closed" }
  | { readonly kind: "counts"; readonly connections: number; readonly calls: number };

/** Connections taken and calls answered since they were counted last. */
export interface Counts {
  readonly connections: number;
  readonly calls: number;
}

/** Processes that answer on one port. */
export interface Workers {
  readonly port: number;
  count(): Promise<readonly Counts[]>;
  close(): void;
}

/** A way to bring connections to processes. */
export interface Way {
  readonly name: string;
  start(count: number): Promise<Workers>;
}

const workerFile = fileURLToPath(new URL("spread-worker.ts", import.meta.url));

/** Resolves with the next message of a kind; several may come in one turn of the event loop. */
function message<K extends FromWorker["kind"]>(
  worker: ChildProcess,
  kind: K,
): Promise<FromWorker & { kind: K }> {
  return new Promise((resolve) => {
    const look = (given: FromWorker): void => {
      if (given.kind !== kind) return;
      worker.off("message", look);
      resolve(given as FromWorker & { kind: K });
    };
    worker.on("message", look);
  });
}

async function forkWorkers(count: number): Promise<ChildProcess[]> {
  const workers = Array.from({ length: count }, () => fork(workerFile));
  await Promise.all(workers.map((worker) => message(worker, "up")));
  return workers;
}

function send(worker: ChildProcess, given: ToWorker, handle?: Server | Socket): void {
  if (handle === undefined) worker.send(given);
  // The other end may be gone already, which the worker tells of.
  else worker.send(given, handle, () => {});
}

function running(port: number, workers: readonly ChildProcess[], close: () => void): Workers {
  return {
    port,
    count: () =>
      Promise.all(
        workers.map(async (worker) => {
          const counts = message(worker, "counts");
          send(worker, { kind: "count" });
          return await counts;
        }),
      ),
    close() {
      close();
      for (const worker of workers) worker.disconnect();
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 });
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Every worker has a listening socket of its own on the port; the kernel chooses by a hash. */
const reusePort: Way = {
  name: "SO_REUSEPORT",
  async start(count) {
    const holder = createServer();
    const port = await listen(holder);
    await once(holder.close(), "close");
    const workers = await forkWorkers(count);
    const ready = Promise.all(workers.map((worker) => message(worker, "ready")));
    for (const worker of workers) send(worker, { kind: "listen", port });
    await ready;
    return running(port, workers, () => {});
  },
};

/** All workers accept from one listening socket; whoever comes first gets the connection. */
const sharedListener: Way = {
  name: "one listening socket shared",
  async start(count) {
    const workers = await forkWorkers(count);
    const server = createServer();
    const port = await listen(server);
    const ready = Promise.all(workers.map((worker) => message(worker, "ready")));
    for (const worker of workers) send(worker, { kind: "listener" }, server);
    await ready;
    // Only the copies of the workers accept from now on.
    server.close();
    return running(port, workers, () => {});
  },
};

/** A supervisor accepts, and hands each connection to the worker that has the fewest. */
const handedOver: Way = {
  name: "handed over, fewest open first",
  async start(count) {
    const workers = await forkWorkers(count);
    const open = workers.map(() => 0);
    for (const [index, worker] of workers.entries()) {
      worker.on("message", (given: FromWorker) => {
        if (given.kind === "closed") open[index]!--;
      });
    }
    let last = -1;
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      let chosen = (last + 1) % count;
      for (let step = 1; step < count; step++) {
        const other = (last + 1 + step) % count;
        if (open[other]! < open[chosen]!) chosen = other;
      }
      last = chosen;
      open[chosen]!++;
      send(workers[chosen]!, { kind: "connection" }, socket);
    });
    const port = await listen(server);
    return running(port, workers, () => server.close());
  },
};

/** The ways that are compared. */
export const ways: readonly Way[] = [reusePort, sharedListener, handedOver];
