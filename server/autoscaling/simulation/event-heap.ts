/** What happens at a time. */
export interface TimedEvent {
  readonly at: number;
}

/** Events in the order of their times; those of one time in the order in which they came. */
export class EventHeap<E extends TimedEvent> {
  readonly #events: { readonly event: E; readonly order: number }[] = [];
  #order = 0;

  push(event: E): void {
    const events = this.#events;
    let at = events.push({ event, order: this.#order++ }) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  /** The next event; `undefined` if there is none. */
  pop(): E | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (!first || !last || events.length === 0) return first?.event;
    events[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < events.length && this.#before(left, least)) least = left;
      if (right < events.length && this.#before(right, least)) least = right;
      if (least === at) return first.event;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    const one = this.#events[a]!;
    const other = this.#events[b]!;
    return (one.event.at - other.event.at || one.order - other.order) < 0;
  }

  #swap(a: number, b: number): void {
    const one = this.#events[a]!;
    this.#events[a] = this.#events[b]!;
    this.#events[b] = one;
  }
}
