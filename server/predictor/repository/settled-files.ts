/** What a look at a model's files says. */
export type FileChange =
  /** They are those that were loaded. */
  | "none"
  /** They are others, and may still be on their way. */
  | "under way"
  /** They are others, and have not changed since the last look. */
  | "settled";

/**
 * Tells a change of a model's files that is whole from a copy in progress: it counts once two looks in a
 * row see the same files.
 */
export class SettledFiles {
  /** Fingerprints seen by the last look, of models whose files differ from what is loaded. */
  readonly #changing = new Map<string, string>();

  /**
   * @param loaded - fingerprint of what was loaded
   * @param now - fingerprint of what is there
   */
  look(model: string, loaded: string, now: string): FileChange {
    if (now === loaded) {
      this.#changing.delete(model);
      return "none";
    }
    if (this.#changing.get(model) !== now) {
      this.#changing.set(model, now);
      return "under way";
    }
    this.#changing.delete(model);
    return "settled";
  }

  /** Forgets a model that went. */
  forget(model: string): void {
    this.#changing.delete(model);
  }
}
