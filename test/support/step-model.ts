import type { RowStep, StepModel } from "../../server/generation/step-model.ts";

/** Tokens of {@link recordingModel}; 0 ends a text. */
export const stepVocabulary = 5;

/**
 * Logits that depend on all tokens of a text and on nothing else: a model that mixes up rows, forgets tokens
 * or takes them twice gives others.
 */
export function logitsAfter(tokens: readonly number[]): Float32Array {
  let hash = 2166136261;
  for (const token of tokens) hash = Math.imul(hash ^ (token + 1), 16777619) >>> 0;
  return Float32Array.from({ length: stepVocabulary }, (_, token) => {
    let mixed = Math.imul(hash ^ ((token + 1) * 0x9e3779b9), 0x85ebca6b) >>> 0;
    mixed = (mixed ^ (mixed >>> 15)) >>> 0;
    return (mixed % 100_003) / 10_000;
  });
}

/** The greedy continuation of a text that is alone: until 0, or until there are as many tokens. */
export function continuation(prompt: readonly number[], count: number): number[] {
  const tokens = [...prompt];
  const given: number[] = [];
  while (given.length < count && given.at(-1) !== 0) {
    const logits = logitsAfter(tokens);
    const best = logits.indexOf(Math.max(...logits));
    given.push(best);
    tokens.push(best);
  }
  return given;
}

/** A model that checks what it is asked, and keeps it. */
export interface RecordingModel extends StepModel {
  /** Rows of each step so far. */
  readonly steps: (readonly RowStep[])[];
  /** Tokens of the slots that are in use. */
  readonly texts: ReadonlyMap<number, readonly number[]>;
  /** Fails the next step as a whole, or one row of it. */
  failNext(what: "step" | "row"): void;
}

/** Makes one. */
export function recordingModel(slots: number, contextLength: number): RecordingModel {
  const texts = new Map<number, number[]>();
  const steps: (readonly RowStep[])[] = [];
  let failing: "step" | "row" | undefined;
  return {
    slots,
    contextLength,
    vocabularySize: stepVocabulary,
    steps,
    texts,
    failNext(what) {
      failing = what;
    },
    async step(rows) {
      steps.push(rows);
      if (new Set(rows.map(({ slot }) => slot)).size < rows.length) throw new Error("a slot twice");
      const what = failing;
      failing = undefined;
      if (what === "step") throw new Error("the step failed");
      return rows.map(({ slot, tokens }, index) => {
        if (slot < 0 || slot >= slots) throw new Error(`no slot ${slot}`);
        if (tokens.length === 0) throw new Error("no tokens");
        if (what === "row" && index === 0) return new Error("the row failed");
        const text = [...(texts.get(slot) ?? []), ...tokens];
        if (text.length > contextLength) throw new Error(`no room in slot ${slot}`);
        texts.set(slot, text);
        return logitsAfter(text);
      });
    },
    release(slot) {
      texts.delete(slot);
    },
  };
}
