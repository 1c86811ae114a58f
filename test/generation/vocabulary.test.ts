import test from "ava";
import fc from "fast-check";
import { characterVocabulary } from "../../server/generation/vocabulary.ts";

test("a text of its characters comes back from its tokens", (t) => {
  const characters = "ab 0é𝄞";
  const { encode, decoder, size, endTokens, startToken } = characterVocabulary(characters);
  t.is(size, 7);
  t.deepEqual(endTokens, [0]);
  t.is(startToken, 0);
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...characters)), (letters) => {
      const tokens = encode(letters.join(""));
      const decode = decoder();
      return tokens.map((token) => decode.push(token)).join("") + decode.end() === letters.join("");
    }),
  );
});

test("white space that has no token is a blank, and other characters are refused by name", (t) => {
  const { encode, textOf } = characterVocabulary("a ");
  t.deepEqual(encode("a\na\t\u00a0"), [1, 2, 1, 2, 2]);
  t.throws(() => encode("ab"), {
    message: /got the character "b", expected only characters of "a "/,
  });
  t.throws(() => characterVocabulary("a").encode("a\n"), { message: /the character "\\n"/ });
  t.is(textOf(0), "");
  t.is(textOf(99), "");
});
