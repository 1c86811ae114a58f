/** Text that may be given out, and whether a stop string was met. */
export interface Released {
  readonly text: string;
  readonly stopped: boolean;
}

const nothing: Released = { text: "", stopped: false };

/**
 * Finds stop strings in a text that comes in pieces. What could be the beginning of a stop string is held
 * back until it is known not to be, so no part of one is given out. Where several match, the one that
 * ends first counts, and of those the longest: so the cut does not depend on where pieces end.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  readonly #longest: number;
  #held = "";

  /** @param stops - not empty strings */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
    this.#longest = Math.max(0, ...stops.map(({ length }) => length));
  }

  /** Takes a piece; after one that stops, nothing more may come. */
  push(piece: string): Released {
    if (this.#longest === 0) return piece === "" ? nothing : { text: piece, stopped: false };
    const text = this.#held + piece;
    const cut = this.#firstStop(text);
    if (cut !== -1) {
      this.#held = "";
      return { text: text.slice(0, cut), stopped: true };
    }
    const kept = text.length - this.#heldBack(text);
    this.#held = text.slice(kept);
    return { text: text.slice(0, kept), stopped: false };
  }

  /** What was held back, when no more text comes. */
  end(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** Where the stop string that ends first begins; -1 if there is none. */
  #firstStop(text: string): number {
    let end = Number.POSITIVE_INFINITY;
    let begin = -1;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at === -1) continue;
      const ends = at + stop.length;
      if (ends < end || (ends === end && at < begin)) {
        end = ends;
        begin = at;
      }
    }
    return begin;
  }

  /** Length of the longest end of the text that a stop string begins with. */
  #heldBack(text: string): number {
    for (let length = Math.min(text.length, this.#longest - 1); length > 0; length--) {
      const end = text.slice(-length);
      if (this.#stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
    }
    return 0;
  }
}
