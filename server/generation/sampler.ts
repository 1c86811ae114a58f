import { createRandom, type Random } from "../random/random.ts";
import type { CheckedParameters } from "./generation-parameters.ts";

/** A token and the natural logarithm of its probability, by the model alone. */
export interface RankedToken {
  readonly token: number;
  readonly logprob: number;
}

/** A token that was chosen. */
export interface Choice {
  readonly token: number;
  /** `undefined` unless the parameters ask for logarithms of probabilities. */
  readonly logprob: number | undefined;
  /** The likeliest tokens, as many as were asked for, falling. */
  readonly top: readonly RankedToken[];
}

/** What the choices of one generation depend on beside the logits. */
export interface SamplingState {
  readonly parameters: CheckedParameters;
  readonly random: Random;
  /** Tokens of the prompt; empty unless the parameters need them. */
  readonly prompt: ReadonlySet<number>;
  /** How often each token was generated; empty unless the parameters need it. */
  readonly counts: Map<number, number>;
}

/** State of a generation that begins. */
export function samplingState(
  parameters: CheckedParameters,
  prompt: readonly number[],
): SamplingState {
  return {
    parameters,
    random: createRandom(parameters.seed),
    prompt: new Set(parameters.repetitionPenalty === 1 ? [] : prompt),
    counts: new Map(),
  };
}

const noTokens: readonly RankedToken[] = [];

/**
 * Chooses tokens from logits, in the order of vLLM: penalties, temperature, min_p, top_k, top_p, then
 * one number of the generation's own random source decides. The logprobs that are reported are those of
 * the model, before any of these.
 *
 * Tokens are ranked by falling logit, and equal ones by number, so that a choice depends on nothing but
 * the logits and the state. One sampler serves any number of generations.
 */
export class Sampler {
  readonly #vocabularySize: number;
  /** Logits after the penalties, then weights: unscaled probabilities, 1 for the likeliest. */
  readonly #weights: Float64Array;
  readonly #kept: Uint32Array;

  /** @param vocabularySize - number of logits */
  constructor(vocabularySize: number) {
    this.#vocabularySize = vocabularySize;
    this.#weights = new Float64Array(vocabularySize);
    this.#kept = new Uint32Array(vocabularySize);
  }

  /**
   * Chooses the next token and counts it in the state.
   *
   * @param logits - one for each token of the vocabulary; not kept
   * @throws RangeError if their number is wrong, or one of them is NaN or infinite
   */
  choose(logits: Float32Array, state: SamplingState): Choice {
    if (logits.length !== this.#vocabularySize) {
      throw new RangeError(`got ${logits.length} logits, expected ${this.#vocabularySize}`);
    }
    for (let token = 0; token < logits.length; token++) {
      if (!Number.isFinite(logits[token]!)) {
        throw new RangeError(`the model gave ${logits[token]} as the logit of token ${token}`);
      }
    }
    const { parameters, counts } = state;
    this.#penalize(logits, state);
    const token = parameters.temperature === 0 ? this.#likeliest() : this.#draw(state);
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = parameters;
    if (repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0) {
      counts.set(token, (counts.get(token) ?? 0) + 1);
    }
    if (parameters.logprobs === undefined) return { token, logprob: undefined, top: noTokens };
    return reported(logits, token, parameters.logprobs);
  }

  #penalize(logits: Float32Array, { parameters, counts, prompt }: SamplingState): void {
    const weights = this.#weights;
    weights.set(logits);
    const { repetitionPenalty, frequencyPenalty, presencePenalty } = parameters;
    if (repetitionPenalty !== 1) {
      for (const token of prompt) {
        if (!counts.has(token)) weights[token] = repeated(weights[token]!, repetitionPenalty);
      }
    }
    for (const [token, count] of counts) {
      weights[token] =
        repeated(weights[token]!, repetitionPenalty) - frequencyPenalty * count - presencePenalty;
    }
  }

  #likeliest(): number {
    const weights = this.#weights;
    let best = 0;
    for (let token = 1; token < weights.length; token++) {
      if (weights[token]! > weights[best]!) best = token;
    }
    return best;
  }

  #draw({ parameters, random }: SamplingState): number {
    const { temperature, minP, topK, topP } = parameters;
    const weights = this.#weights;
    const best = weights[this.#likeliest()]!;
    let total = 0;
    for (let token = 0; token < weights.length; token++) {
      // The difference comes first: a small temperature must not make infinities of the logits.
      const weight = Math.exp((weights[token]! - best) / temperature);
      weights[token] = weight >= minP ? weight : 0;
      total += weights[token]!;
    }
    const kept = this.#kept;
    // All tokens below this are together less than what top_p leaves out, so they need no ranking. With
    // top_k the share is of those k tokens, which are not known yet.
    const floor = topP < 1 && topK === 0 ? ((1 - topP) * total) / weights.length : 0;
    let count = 0;
    for (let token = 0; token < weights.length; token++) {
      if (weights[token]! > 0 && weights[token]! >= floor) kept[count++] = token;
    }
    const ranked = kept.subarray(0, count);
    if (topP < 1 || (topK > 0 && topK < count)) {
      ranked.sort((a, b) => weights[b]! - weights[a]! || a - b);
      if (topK > 0 && topK < count) {
        count = topK;
        total = 0;
        for (let rank = 0; rank < count; rank++) total += weights[ranked[rank]!]!;
      }
      let sum = 0;
      for (let rank = 0; rank < count; rank++) {
        sum += weights[ranked[rank]!]!;
        if (sum >= topP * total) {
          count = rank + 1;
          total = sum;
        }
      }
    }
    let left = random.next() * total;
    for (let rank = 0; rank < count; rank++) {
      left -= weights[ranked[rank]!]!;
      if (left < 0) return ranked[rank]!;
    }
    // Sums in another order can differ in their last bits.
    return ranked[count - 1]!;
  }
}

/** Keskar and others, CTRL (2019): what is above 0 is divided, what is below is multiplied. */
function repeated(logit: number, penalty: number): number {
  return logit > 0 ? logit / penalty : logit * penalty;
}

function reported(logits: Float32Array, token: number, count: number): Choice {
  let best = logits[0]!;
  for (const logit of logits) if (logit > best) best = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - best);
  const base = best + Math.log(total);
  const top: RankedToken[] = [];
  // Few are asked for: an insertion into a short list is cheaper than ranking all.
  for (let other = 0; other < logits.length && count > 0; other++) {
    const logprob = logits[other]! - base;
    if (top.length === count && logprob <= top[count - 1]!.logprob) continue;
    let place = top.length;
    while (place > 0 && top[place - 1]!.logprob < logprob) place--;
    top.splice(place, 0, { token: other, logprob });
    if (top.length > count) top.pop();
  }
  return { token, logprob: logits[token]! - base, top };
}
