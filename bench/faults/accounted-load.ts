import type { Random } from "../soak/random.ts";
import type { CallUnderWay } from "./accounted-client.ts";
import type { KnownCall, MakeKnownCall } from "./known-calls.ts";

/** Makes calls that are accounted for. */
export interface Callee {
  begin(call: KnownCall): CallUnderWay;
  close(): void;
}

/** What a load is made of. */
export interface LoadOptions {
  /** Calls under way at once on each connection. */
  readonly callsEach: number;
  /** What is called; each is as likely. */
  readonly calls: readonly MakeKnownCall[];
  readonly random: Random;
}

/** Calls that follow each other until the load is ended. */
export class AccountedLoad {
  readonly #clients: readonly Callee[];
  readonly #loops: readonly Promise<void>[];
  readonly #onAnswered = new Set<() => void>();
  #ended = false;

  /** @param clients - one a connection; they are closed at the end */
  constructor(clients: readonly Callee[], { callsEach, calls, random }: LoadOptions) {
    this.#clients = clients;
    const loop = async (client: Callee): Promise<void> => {
      while (!this.#ended) {
        const right = await client.begin(random.of(calls)(random)).ended;
        if (right) for (const listener of this.#onAnswered) listener();
        // A connection that is lost refuses at once, as often as it is asked.
        else await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    this.#loops = clients.flatMap((client) =>
      Array.from({ length: callsEach }, () => loop(client)),
    );
  }

  /** Resolves when so many more calls were answered. */
  answered(count: number): Promise<void> {
    return new Promise((resolve) => {
      let left = count;
      const listener = (): void => {
        if (--left > 0) return;
        this.#onAnswered.delete(listener);
        resolve();
      };
      this.#onAnswered.add(listener);
    });
  }

  /** Begins no more calls, waits for those under way, and closes the connections. */
  async end(): Promise<void> {
    this.#ended = true;
    await Promise.all(this.#loops);
    for (const client of this.#clients) client.close();
  }
}
