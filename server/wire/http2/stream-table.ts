import type { Http2Stream } from "./http2-stream.ts";

/** Streams that are found without a Map, as many as mostly are open at once; a power of two. */
const slotCount = 128;

/**
 * The open streams of a connection, by id. Ids rise by two, so the youngest streams have a slot each;
 * one that is still open when its slot is needed again moves to a Map.
 *
 * A Map alone would keep what was deleted from it alive: its table is made anew again and again, each
 * old one refers to the next, and once one is in the old generation, all that it held when it was
 * left survives with it (docs/wire.md).
 */
export class StreamTable {
  #slots: (Http2Stream | undefined)[] = [];
  readonly #longLived = new Map<number, Http2Stream>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Http2Stream | undefined {
    const stream = this.#slots[(id >>> 1) & (slotCount - 1)];
    if (stream !== undefined && stream.id === id) return stream;
    return this.#longLived.size === 0 ? undefined : this.#longLived.get(id);
  }

  /** Adds a stream whose id is not in the table. */
  add(stream: Http2Stream): void {
    if (this.#slots.length === 0) this.#slots = new Array(slotCount).fill(undefined);
    const slot = (stream.id >>> 1) & (slotCount - 1);
    const occupant = this.#slots[slot];
    if (occupant !== undefined) this.#longLived.set(occupant.id, occupant);
    this.#slots[slot] = stream;
    this.#size++;
  }

  delete(stream: Http2Stream): void {
    const slot = (stream.id >>> 1) & (slotCount - 1);
    if (this.#slots[slot] === stream) this.#slots[slot] = undefined;
    else if (!this.#longLived.delete(stream.id)) return;
    this.#size--;
  }

  /** The streams as they are now: the table may change while they are looked at. */
  all(): Http2Stream[] {
    if (this.#size === 0) return [];
    const streams = [...this.#longLived.values()];
    for (const stream of this.#slots) if (stream !== undefined) streams.push(stream);
    return streams;
  }
}
