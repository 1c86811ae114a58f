import type { Log } from "../../../observability/log.ts";
import type { OnnxSessionOptions } from "./onnx-session.ts";
import { SharedBuffers } from "./shared-buffers.ts";
import { type RemoteSession, WorkerHost } from "./worker-host.ts";

/** Shared memory for large inputs of all workers, in bytes. */
const maxSharedBytes = 256 * 1024 * 1024;

/** A fixed number of worker threads that models are spread over; threads start when needed. */
export class WorkerPool {
  readonly #hosts: readonly WorkerHost[];
  readonly #buffers = new SharedBuffers(maxSharedBytes);

  /** @param size - threads, at least 1 */
  constructor(size: number, log: Log) {
    this.#hosts = Array.from({ length: size }, () => new WorkerHost(this.#buffers, log));
  }

  /** Shared memory that is held for inputs, in bytes. */
  get sharedBytes(): number {
    return this.#buffers.bytes;
  }

  /** Opens a model in the worker that holds the fewest. */
  load(options: OnnxSessionOptions): Promise<RemoteSession> {
    let emptiest = this.#hosts[0];
    for (const host of this.#hosts) {
      if (!emptiest || host.sessionCount < emptiest.sessionCount) emptiest = host;
    }
    if (!emptiest) throw new Error("the worker pool has no threads");
    return emptiest.load(options);
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.close()));
  }
}
