/** Turns with one call, in a row, after which calls are taken to come one at a time. */
const quietTurns = 32;

/** While calls come one at a time, the turn of one in so many is looked at: it costs the loop a round. */
const sampledCalls = 8;

/**
 * Tells whether calls come several in one turn of the event loop. Gathering them costs each the rest of its
 * turn, which a call that comes alone is spared.
 */
export class TurnGauge {
  readonly #atTurnEnd: (action: () => void) => void;
  /** Calls of the turn that is looked at; 0 if none is. */
  #calls = 0;
  #unseen = 0;
  #quiet = 0;
  #gathers = false;

  /** @param atTurnEnd - calls `action` at the end of the turn */
  constructor(atTurnEnd: (action: () => void) => void) {
    this.#atTurnEnd = atTurnEnd;
  }

  /** A call came; true if it should wait for others of its turn. */
  called(): boolean {
    if (this.#calls > 0) {
      this.#calls++;
      this.#gathers = true;
    } else if (this.#gathers || this.#unseen === 0) {
      this.#calls = 1;
      this.#unseen = sampledCalls - 1;
      this.#atTurnEnd(this.#onTurnEnd);
    } else this.#unseen--;
    return this.#gathers;
  }

  readonly #onTurnEnd = (): void => {
    if (this.#calls > 1) this.#quiet = 0;
    else if (this.#gathers && ++this.#quiet >= quietTurns) this.#gathers = false;
    this.#calls = 0;
  };
}
