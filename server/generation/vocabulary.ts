import { parameterInvalid } from "../errors/request-errors.ts";

/** Makes text of tokens that come one by one. */
export interface TokenDecoder {
  /** Text that is complete with this token; may be empty while a character is cut by a token's end. */
  push(token: number): string;
  /** Text of what is left when no token comes any more. */
  end(): string;
}

/** Between text and tokens. */
export interface Vocabulary {
  /** Number of tokens. */
  readonly size: number;
  /** Stands before every prompt; `undefined` if the model wants none. */
  readonly startToken: number | undefined;
  /** Tokens with which the model ends a text. */
  readonly endTokens: readonly number[];
  /** @throws TensorwireError `PARAMETER_INVALID` if the text cannot be written with these tokens */
  encode(text: string): number[];
  /** A decoder for one text. */
  decoder(): TokenDecoder;
  /** Text of a single token, for lists of probabilities. */
  textOf(token: number): string;
}

/**
 * A vocabulary in which each token is a character, and token 0 begins and ends texts. A white space that
 * has no token, such as the end of a line, is written as a blank.
 *
 * @param characters - Unicode characters of the tokens from 1 on
 */
export function characterVocabulary(characters: string): Vocabulary {
  const texts = ["", ...characters];
  const numbers = new Map(texts.map((text, token) => [text, token]));
  const textOf = (token: number) => texts[token] ?? "";
  const decoder: TokenDecoder = { push: textOf, end: () => "" };
  return {
    size: texts.length,
    startToken: 0,
    endTokens: [0],
    encode: (text) =>
      Array.from(text, (character) => {
        const token =
          numbers.get(character) ?? (/\s/u.test(character) ? numbers.get(" ") : undefined);
        if (token !== undefined) return token;
        const given = `the character ${JSON.stringify(character)}`;
        throw parameterInvalid("prompt", given, `only characters of ${JSON.stringify(characters)}`);
      }),
    decoder: () => decoder,
    textOf,
  };
}
