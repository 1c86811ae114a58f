import type { Log } from "../../../observability/log.ts";
import type { OnnxSessionOptions } from "./onnx-session.ts";
import { SharedBuffers } from "./shared-buffers.ts";
import { type RemoteSession, WorkerHost } from "./worker-host.ts";

/** Shared memory for large inputs of all workers, in bytes. */
const maxSharedBytes = 256 * 1024 * 1024;

/** Worker threads that models are spread over; threads start when needed. */
export class WorkerPool {
  readonly #hosts: WorkerHost[];
  readonly #buffers = new SharedBuffers(maxSharedBytes);
  readonly #log: Log;

  /** @param size - threads, at least 1; there are more while a model has more instances */
  constructor(size: number, log: Log) {
    this.#log = log;
    this.#hosts = Array.from({ length: size }, () => this.#host());
  }

  /** Shared memory that is held for inputs, in bytes. */
  get sharedBytes(): number {
    return this.#buffers.bytes;
  }

  /** Threads that run. */
  get threads(): number {
    return this.#hosts.filter((host) => host.isRunning).length;
  }

  /**
   * Opens sessions of a model, each in a worker of its own, those that hold the fewest.
   *
   * @param sessions - what each is opened with
   */
  async load(sessions: readonly OnnxSessionOptions[]): Promise<RemoteSession[]> {
    const instances = sessions.length;
    while (this.#hosts.length < instances) this.#hosts.push(this.#host());
    const emptiest = this.#hosts
      .toSorted((one, other) => one.sessionCount - other.sessionCount)
      .slice(0, instances);
    const opened = await Promise.allSettled(
      emptiest.map((host, index) => host.load(sessions[index]!)),
    );
    const failed = opened.find((each) => each.status === "rejected");
    const loaded = opened.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    if (!failed) return loaded;
    await Promise.all(loaded.map((session) => session.release()));
    throw failed.reason;
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.close()));
  }

  #host(): WorkerHost {
    return new WorkerHost(this.#buffers, this.#log);
  }
}
