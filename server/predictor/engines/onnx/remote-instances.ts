import type { Tensor } from "../../../tensor/tensor.ts";
import type { EngineResult } from "../engine.ts";
import type { GraphCacheReport } from "./graph-cache.ts";
import type { GraphPort } from "./graph-plan.ts";
import type { RemoteSession } from "./worker-host.ts";

/** The same model in one or more worker threads; a run goes to the one that has the fewest. */
export class RemoteInstances {
  readonly #sessions: readonly { readonly session: RemoteSession; runs: number }[];
  readonly #first: RemoteSession;

  /** @param sessions - at least one */
  constructor(sessions: readonly RemoteSession[]) {
    const [first] = sessions;
    if (!first) throw new Error("a model has at least one instance");
    this.#first = first;
    this.#sessions = sessions.map((session) => ({ session, runs: 0 }));
  }

  get count(): number {
    return this.#sessions.length;
  }

  get inputs(): readonly GraphPort[] {
    return this.#first.inputs;
  }

  get outputs(): readonly GraphPort[] {
    return this.#first.outputs;
  }

  get timeFollowsSize(): boolean {
    return this.#first.timeFollowsSize;
  }

  get isDeterministic(): boolean {
    return this.#first.isDeterministic;
  }

  /** Memory that the sessions were seen to take, in bytes. */
  get memoryBytes(): number {
    let bytes = 0;
    for (const { session } of this.#sessions) bytes += session.memoryBytes;
    return bytes;
  }

  /** What the graph cache had to do with each. */
  get graphCache(): readonly GraphCacheReport[] {
    return this.#sessions.flatMap(({ session }) => session.graphCache ?? []);
  }

  async run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<EngineResult> {
    let least = this.#sessions[0]!;
    for (const instance of this.#sessions) {
      // One whose thread is being started again would fail the run at once.
      const better = instance.session.isReady && !least.session.isReady;
      if (better || (instance.session.isReady && instance.runs < least.runs)) least = instance;
    }
    least.runs++;
    try {
      return await least.session.run(inputs, outputNames);
    } finally {
      least.runs--;
    }
  }

  async release(): Promise<void> {
    await Promise.all(this.#sessions.map(({ session }) => session.release()));
  }
}
