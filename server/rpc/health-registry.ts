import { HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";

/** Told of every status of a service after the one at the start. */
export type HealthWatcher = (status: Status) => void;

/** Serving status by service name; the empty name is the server as a whole. */
export class HealthRegistry {
  readonly #statuses = new Map<string, Status>();
  readonly #watchers = new Map<string, Set<HealthWatcher>>();
  #closed = false;
  #watcherCount = 0;

  /** Whether the server is ending: watches end too. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Watches under way. */
  get watcherCount(): number {
    return this.#watcherCount;
  }

  /** Sets a status and tells the watchers if it is a new one; does nothing when closed. */
  set(service: string, serving: boolean): void {
    if (this.#closed) return;
    this.#change(service, serving ? Status.SERVING : Status.NOT_SERVING);
  }

  /** Forgets a service; does nothing when closed. */
  delete(service: string): void {
    if (this.#closed || !this.#statuses.delete(service)) return;
    this.#notify(service, Status.SERVICE_UNKNOWN);
  }

  /** The status; `undefined` for a service that is not known. */
  get(service: string): Status | undefined {
    return this.#statuses.get(service);
  }

  /** All services. */
  entries(): IterableIterator<[string, Status]> {
    return this.#statuses.entries();
  }

  /** Adds a watcher; the result removes it. */
  watch(service: string, watcher: HealthWatcher): () => void {
    let watchers = this.#watchers.get(service);
    if (!watchers) {
      watchers = new Set();
      this.#watchers.set(service, watchers);
    }
    watchers.add(watcher);
    this.#watcherCount++;
    return () => {
      if (!watchers.delete(watcher)) return;
      this.#watcherCount--;
      if (watchers.size === 0 && this.#watchers.get(service) === watchers)
        this.#watchers.delete(service);
    };
  }

  /** Nothing serves any more, and watches end. */
  close(): void {
    this.#closed = true;
    for (const service of [...this.#statuses.keys()]) this.#change(service, Status.NOT_SERVING);
    for (const [service, watchers] of [...this.#watchers]) {
      if (!this.#statuses.has(service))
        for (const watcher of [...watchers]) watcher(Status.SERVICE_UNKNOWN);
    }
  }

  #change(service: string, status: Status): void {
    if (this.#statuses.get(service) === status && !this.#closed) return;
    this.#statuses.set(service, status);
    this.#notify(service, status);
  }

  #notify(service: string, status: Status): void {
    for (const watcher of [...(this.#watchers.get(service) ?? [])]) watcher(status);
  }
}
