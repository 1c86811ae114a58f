/** What a template of the request log can name (knative.dev/serving, pkg/http). */
export type LogValue =
  | string
  | number
  | undefined
  | readonly string[]
  | { readonly [name: string]: LogValue };

/** Writes a line of the log. */
export type LogTemplate = (values: { readonly [name: string]: LogValue }) => string;

type Evaluate = (values: LogValue) => LogValue;

/**
 * Compiles a template of Go, as far as request logs use them: fields (`{{.Response.Code}}`), `index` of
 * headers, `js`, `html`, `urlquery`, `len`, `printf`, pipes, and trimmed white space (`{{-`).
 *
 * @throws Error naming an action that is not understood
 */
export function compileLogTemplate(text: string): LogTemplate {
  const parts: (string | Evaluate)[] = [];
  let at = 0;
  for (;;) {
    const open = text.indexOf("{{", at);
    if (open === -1) break;
    const close = text.indexOf("}}", open);
    if (close === -1) throw new Error("an action is not closed by }}");
    let before = text.slice(at, open);
    let action = text.slice(open + 2, close);
    at = close + 2;
    if (/^-\s/.test(action)) {
      before = before.trimEnd();
      action = action.slice(1);
    }
    if (/\s-$/.test(action)) {
      action = action.slice(0, -1);
      while (at < text.length && /\s/.test(text[at]!)) at++;
    }
    if (before !== "") parts.push(before);
    action = action.trim();
    if (!/^\/\*.*\*\/$/s.test(action)) parts.push(compileAction(action));
  }
  if (at < text.length) parts.push(text.slice(at));
  return (values) => {
    let line = "";
    for (const part of parts) line += typeof part === "string" ? part : shown(part(values));
    return line;
  };
}

/** An action: commands with pipes between, each given the result of the one before as its last argument. */
function compileAction(action: string): Evaluate {
  const commands = splitPipes(tokensOf(action));
  let result: Evaluate | undefined;
  for (const command of commands) result = compileCommand(command, result, action);
  return result!;
}

const tokenPattern = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[()|]|[^\s"`()|]+)/gy;

function tokensOf(action: string): string[] {
  const tokens: string[] = [];
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < action.length) {
    const match = tokenPattern.exec(action);
    if (!match) throw notUnderstood(action);
    tokens.push(match[1]!);
  }
  if (tokens.length === 0) throw notUnderstood(action);
  return tokens;
}

function splitPipes(tokens: readonly string[]): string[][] {
  const commands: string[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token === "(") depth++;
    else if (token === ")") depth--;
    if (token === "|" && depth === 0) commands.push([]);
    else commands.at(-1)!.push(token);
  }
  return commands;
}

function compileCommand(
  tokens: readonly string[],
  piped: Evaluate | undefined,
  action: string,
): Evaluate {
  const [name, ...rest] = tokens;
  if (name === undefined) throw notUnderstood(action);
  const call = functions[name];
  if (!call) {
    const [value, left] = compileOperand(tokens, action);
    if (left.length > 0 || piped) throw notUnderstood(action);
    return value;
  }
  const operands: Evaluate[] = [];
  let left: readonly string[] = rest;
  while (left.length > 0) {
    const [value, behind] = compileOperand(left, action);
    operands.push(value);
    left = behind;
  }
  if (piped) operands.push(piped);
  return (values) => call(operands.map((operand) => operand(values)));
}

function compileOperand(
  tokens: readonly string[],
  action: string,
): [value: Evaluate, behind: readonly string[]] {
  const [token = "", ...rest] = tokens;
  if (token === "(") {
    let depth = 1;
    let end = 0;
    for (; end < rest.length && depth > 0; end++) {
      if (rest[end] === "(") depth++;
      else if (rest[end] === ")") depth--;
    }
    if (depth > 0) throw notUnderstood(action);
    return [compileAction(rest.slice(0, end - 1).join(" ")), rest.slice(end)];
  }
  if (token.startsWith('"')) {
    const text = JSON.parse(token) as string;
    return [() => text, rest];
  }
  if (token.startsWith("`")) return [() => token.slice(1, -1), rest];
  if (/^-?\d+$/.test(token)) return [() => Number(token), rest];
  if (token === ".") return [(values) => values, rest];
  if (!/^(\.[A-Za-z_]\w*)+$/.test(token)) throw notUnderstood(action);
  const path = token.slice(1).split(".");
  return [(values) => path.reduce<LogValue>(fieldOf, values), rest];
}

function fieldOf(value: LogValue, name: string): LogValue {
  if (typeof value !== "object" || Array.isArray(value)) return undefined;
  return (value as { readonly [name: string]: LogValue })[name];
}

const functions: Readonly<Record<string, (operands: readonly LogValue[]) => LogValue>> = {
  index: ([from, key]) => {
    if (Array.isArray(from)) return (from as readonly string[])[Number(key)];
    // Headers are looked up as they are written; those that are absent are an empty list.
    return fieldOf(from, String(key)) ?? [];
  },
  len: ([value]) => (typeof value === "string" || Array.isArray(value) ? value.length : 0),
  js: ([value]) => escapeJs(shown(value)),
  html: ([value]) => shown(value).replace(/[&<>"'\0]/g, (character) => htmlEscapes[character]!),
  urlquery: ([value]) => encodeURIComponent(shown(value)).replaceAll("%20", "+"),
  print: (values) => values.map(shown).join(""),
  printf: ([format, ...values]) => {
    let next = 0;
    return shown(format).replace(/%(?:(%)|([sdvq]))/g, (_, percent, verb) => {
      if (percent) return "%";
      const text = shown(values[next++]);
      return verb === "q" ? JSON.stringify(text) : text;
    });
  },
};

const htmlEscapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&#34;",
  "'": "&#39;",
  "\0": "\uFFFD",
};

/** As Go's template.JSEscapeString. */
function escapeJs(text: string): string {
  return text.replace(/[\\'"<>&=\p{Cc}]/gu, (character) => {
    if (character === "\\" || character === "'" || character === '"') return `\\${character}`;
    return `\\u${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  });
}

/** As Go's fmt writes values. */
function shown(value: LogValue): string {
  if (value === undefined) return "<no value>";
  if (Array.isArray(value)) return `[${value.join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([name, inner]) => `${name}:${shown(inner as LogValue)}`).join(" ")}]`;
  }
  return String(value);
}

function notUnderstood(action: string): Error {
  return new Error(
    `{{${action}}} is not understood; fields, index, js, html, urlquery, len, print and printf are`,
  );
}
