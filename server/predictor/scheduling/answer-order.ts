/** A place in the order of answers. */
export interface AnswerPlace {
  answer: (() => void) | undefined;
}

/** Gives answers in the order in which their calls came, whichever is computed first. */
export class AnswerOrder {
  #places: AnswerPlace[] = [];
  #first = 0;

  /** Takes the next place. */
  take(): AnswerPlace {
    const place = { answer: undefined };
    this.#places.push(place);
    return place;
  }

  /** Answers, now or when all earlier places have answered. */
  settle(place: AnswerPlace, answer: () => void): void {
    place.answer = answer;
    for (;;) {
      const due = this.#places[this.#first]?.answer;
      if (!due) break;
      this.#first++;
      due();
    }
    // Those answered are dropped now and then, so that each costs the same.
    if (this.#first * 2 > this.#places.length) {
      this.#places = this.#places.slice(this.#first);
      this.#first = 0;
    }
  }
}
