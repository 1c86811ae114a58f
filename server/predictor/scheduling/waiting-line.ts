/** A call in a {@link WaitingLine}; the line owns the last three fields. */
export interface Lined {
  /** Priority level, from 1. */
  readonly level: number;
  readonly arrivedMs: number;
  /** When the call has waited too long, in ms; `Infinity` for never. */
  expiresMs: number;
  list: LinkedList | undefined;
  previous: Lined | undefined;
  next: Lined | undefined;
}

/** Calls one behind the other, of which any can leave at no cost. */
interface LinkedList {
  first: Lined | undefined;
  last: Lined | undefined;
  size: number;
}

/** A level: calls in time, and behind them those that waited too long and were kept. */
interface Level {
  readonly inTime: LinkedList;
  readonly delayed: LinkedList;
}

/**
 * Calls that wait, in the order in which they are served: level 1 before level 2 and so on, within a
 * level by arrival, and those that waited longer than their policy says last. With aging a call counts
 * as one level higher for each `agingMs` that it has waited.
 */
export class WaitingLine<T extends Lined> {
  readonly #levels: readonly Level[];
  readonly #agingMs: number;
  #size = 0;

  constructor(levels: number, agingMs: number) {
    this.#levels = Array.from({ length: levels }, () => ({
      inTime: emptyList(),
      delayed: emptyList(),
    }));
    this.#agingMs = agingMs;
  }

  get size(): number {
    return this.#size;
  }

  /** Calls of one level. */
  sizeOf(level: number): number {
    const { inTime, delayed } = this.#level(level);
    return inTime.size + delayed.size;
  }

  /** Adds a call at the end of its level. */
  push(entry: T): void {
    append(this.#level(entry.level).inTime, entry);
    this.#size++;
  }

  /** Puts a call back before all others of its level. */
  putBack(entry: T): void {
    prepend(this.#level(entry.level).inTime, entry);
    this.#size++;
  }

  /** Takes a call out; false if it is not in the line. */
  remove(entry: T): boolean {
    if (!entry.list) return false;
    unlink(entry);
    this.#size--;
    return true;
  }

  /** Moves a call behind those of its level that are in time. */
  delay(entry: T): void {
    unlink(entry);
    append(this.#level(entry.level).delayed, entry);
  }

  /** Goes through the calls in the order of service until `visit` says false. */
  visit(nowMs: number, visit: (entry: T) => boolean): void {
    if (this.#agingMs > 0 && this.#levels.length > 1) {
      this.#visitAged(nowMs, visit);
      return;
    }
    for (const { inTime, delayed } of this.#levels) {
      for (const list of [inTime, delayed]) {
        for (let entry = list.first; entry; ) {
          const { next } = entry;
          if (!visit(entry as T)) return;
          entry = next;
        }
      }
    }
  }

  /** Merges the levels by what the calls at their heads have aged to. */
  #visitAged(nowMs: number, visit: (entry: T) => boolean): void {
    const heads = this.#levels.map(({ inTime, delayed }) => inTime.first ?? delayed.first);
    for (;;) {
      let chosen = -1;
      let best = Number.POSITIVE_INFINITY;
      for (const [index, head] of heads.entries()) {
        if (!head) continue;
        const aged = Math.floor((nowMs - head.arrivedMs) / this.#agingMs);
        const level = Math.max(1, head.level - aged);
        const earlier =
          level === best && chosen !== -1 && head.arrivedMs < heads[chosen]!.arrivedMs;
        if (level < best || earlier) {
          best = level;
          chosen = index;
        }
      }
      const entry = heads[chosen];
      if (!entry) return;
      const { inTime, delayed } = this.#levels[chosen]!;
      heads[chosen] = entry.next ?? (entry.list === inTime ? delayed.first : undefined);
      if (!visit(entry as T)) return;
    }
  }

  #level(level: number): Level {
    const found = this.#levels[level - 1];
    if (!found) throw new Error(`level ${level} of ${this.#levels.length}`);
    return found;
  }
}

function emptyList(): LinkedList {
  return { first: undefined, last: undefined, size: 0 };
}

function append(list: LinkedList, entry: Lined): void {
  entry.list = list;
  entry.previous = list.last;
  entry.next = undefined;
  if (list.last) list.last.next = entry;
  else list.first = entry;
  list.last = entry;
  list.size++;
}

function prepend(list: LinkedList, entry: Lined): void {
  entry.list = list;
  entry.previous = undefined;
  entry.next = list.first;
  if (list.first) list.first.previous = entry;
  else list.last = entry;
  list.first = entry;
  list.size++;
}

function unlink(entry: Lined): void {
  const { list, previous, next } = entry;
  if (!list) return;
  if (previous) previous.next = next;
  else list.first = next;
  if (next) next.previous = previous;
  else list.last = previous;
  list.size--;
  entry.list = undefined;
  entry.previous = undefined;
  entry.next = undefined;
}
