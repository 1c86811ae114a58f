import type { Socket } from "node:net";

/** One that takes connections. */
export interface ConnectionTaker {
  /** Connections that it was given and that are open. */
  open: number;
  take(socket: Socket, listener: "tcp" | "unix"): void;
}

/** Connections that wait for a worker that takes them; above it new ones are closed at once. */
const maxWaiting = 1024;

/**
 * Gives each connection to the taker that has the fewest open, those with equally many in turn. While
 * there is none they wait, unread.
 */
export class ConnectionSpread {
  /** In the order of turns: whoever took one goes to the end. */
  readonly #takers: ConnectionTaker[] = [];
  readonly #waiting = new Map<Socket, "tcp" | "unix">();
  readonly #onWait: () => void;
  /** Connections that were closed because too many waited. */
  refused = 0;

  /** @param onWait - called when a connection begins to wait */
  constructor(onWait: () => void = () => {}) {
    this.#onWait = onWait;
  }

  /** Connections that wait for a taker. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Adds a taker, and gives it what waits. */
  add(taker: ConnectionTaker): void {
    if (this.#takers.includes(taker)) return;
    this.#takers.push(taker);
    for (const [socket, listener] of [...this.#waiting]) {
      this.#waiting.delete(socket);
      this.give(socket, listener);
    }
  }

  /** Removes a taker; it is given no more. */
  remove(taker: ConnectionTaker): void {
    const index = this.#takers.indexOf(taker);
    if (index !== -1) this.#takers.splice(index, 1);
  }

  /** Whether there is a taker. */
  get isTaken(): boolean {
    return this.#takers.length > 0;
  }

  /** Gives a connection away; it must be paused. */
  give(socket: Socket, listener: "tcp" | "unix"): void {
    let chosen = this.#takers[0];
    if (!chosen) {
      this.#wait(socket, listener);
      return;
    }
    for (const taker of this.#takers) if (taker.open < chosen.open) chosen = taker;
    this.remove(chosen);
    this.#takers.push(chosen);
    chosen.open++;
    chosen.take(socket, listener);
  }

  /** Closes what waits. */
  close(): void {
    for (const socket of this.#waiting.keys()) socket.destroy();
    this.#waiting.clear();
  }

  #wait(socket: Socket, listener: "tcp" | "unix"): void {
    if (this.#waiting.size >= maxWaiting) {
      this.refused++;
      socket.destroy();
      return;
    }
    this.#waiting.set(socket, listener);
    socket.once("close", () => this.#waiting.delete(socket));
    socket.on("error", ignore);
    this.#onWait();
  }
}

function ignore(): void {
  // What is to be done about a broken socket is done on its 'close'.
}
