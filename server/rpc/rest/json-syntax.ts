/** Where a text stops being JSON. */
export interface SyntaxProblem {
  /** Offset in UTF-16 code units. */
  readonly position: number;
  readonly expected: string;
}

const whitespace = /[ \t\n\r]*/y;
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const escaped = /["\\/bfnrt]|u[0-9a-fA-F]{4}/y;

const quote = 0x22;
const backslash = 0x5c;

/**
 * Whether brackets are nested deeper than `limit`. A text with few brackets, as that of flat tensors,
 * is not looked at character by character.
 *
 * @param text - JSON, or what is taken for it
 */
export function nestsDeeper(text: string, limit: number): boolean {
  if (!holdsMore(text, limit)) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quote:
        at = endOfString(text, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > limit) return true;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
    }
  }
  return false;
}

/** Whether more than `limit` brackets open. */
function holdsMore(text: string, limit: number): boolean {
  let count = 0;
  for (const bracket of ["[", "{"]) {
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1))
      if (++count > limit) return true;
  }
  return false;
}

/** Offset of the quote that ends the string which begins at `start`, or the text's length. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at;
    if (code === backslash) at++;
  }
  return text.length;
}

/**
 * Finds where a text stops being JSON (RFC 8259). JSON.parse says so for some errors only, in words
 * that change with the engine.
 *
 * @returns `undefined` if the text is JSON
 */
export function findSyntaxProblem(text: string): SyntaxProblem | undefined {
  /** Closing brackets of what is open. */
  const open: string[] = [];
  let at = skip(text, 0);
  for (;;) {
    // A value, or an empty object or array.
    const character = text[at];
    if (character === "[" || character === "{") {
      const close = character === "[" ? "]" : "}";
      at = skip(text, at + 1);
      if (text[at] !== close) {
        open.push(close);
        if (close === "]") continue;
        const key = readKey(text, at, 'a name in quotes or "}"');
        if (typeof key !== "number") return key;
        at = key;
        continue;
      }
      at++;
    } else if (character === '"') {
      const end = readString(text, at);
      if (typeof end !== "number") return end;
      at = end;
    } else {
      const end = match(scalar, text, at);
      if (end === -1) return { position: at, expected: "a value" };
      at = end;
    }
    // What may stand behind a value.
    for (;;) {
      at = skip(text, at);
      const close = open.at(-1);
      if (close === undefined)
        return at === text.length ? undefined : { position: at, expected: "the end" };
      if (text[at] === close) {
        open.pop();
        at++;
        continue;
      }
      if (text[at] !== ",") return { position: at, expected: `"," or "${close}"` };
      at = skip(text, at + 1);
      if (close === "}") {
        const key = readKey(text, at, "a name in quotes");
        if (typeof key !== "number") return key;
        at = key;
      }
      break;
    }
  }
}

/** Offset of the value behind the name at `at`. */
function readKey(text: string, at: number, expected: string): number | SyntaxProblem {
  if (text[at] !== '"') return { position: at, expected };
  const end = readString(text, at);
  if (typeof end !== "number") return end;
  const colon = skip(text, end);
  return text[colon] === ":" ? skip(text, colon + 1) : { position: colon, expected: '":"' };
}

/** Offset behind the string that begins at `start`. */
function readString(text: string, start: number): number | SyntaxProblem {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) return at + 1;
    if (code < 0x20) return { position: at, expected: "an escape for a control character" };
    if (code !== backslash) continue;
    const end = match(escaped, text, at + 1);
    if (end === -1) return { position: at + 1, expected: "an escape" };
    at = end - 1;
  }
  return { position: text.length, expected: "the closing quote of a string" };
}

function skip(text: string, at: number): number {
  return match(whitespace, text, at);
}

/** Offset behind what the sticky pattern matches at `at`, or -1. */
function match(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : -1;
}
