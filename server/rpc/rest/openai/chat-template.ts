/** A message of a chat. */
export interface ChatMessage {
  /** `system`, `user`, `assistant` ... */
  readonly role: string;
  readonly content: string;
}

/** Writes a chat as a prompt. */
export type ChatTemplate = (messages: readonly ChatMessage[]) => string;

/** For models that say nothing else: a line a message, and the beginning of the reply's. */
export const defaultChatTemplate = "{{#messages}}{{role}}: {{content}}\n{{/messages}}assistant:";

type Part =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "value"; readonly of: "role" | "content" }
  | { readonly kind: "section"; readonly name: string; readonly parts: readonly Part[] };

const tag = /\{\{\s*([#/]?)\s*(\w+)\s*\}\}/y;

/**
 * Reads a template: the part between `{{#messages}}` and `{{/messages}}` stands once for each message, with
 * `{{role}}` and `{{content}}` in it; within, what is between `{{#user}}` and `{{/user}}` stands for messages
 * of that role only, and so for every other role. The form is Mustache's, without its escapes: values stand
 * as they are.
 *
 * @throws Error that says what is wrong with it
 */
export function readChatTemplate(template: string): ChatTemplate {
  const { parts, at } = readParts(template, 0, []);
  if (at < template.length) throw new Error(`it has something to close at position ${at}`);
  if (!parts.some(({ kind }) => kind === "section")) throw new Error("it has no {{#messages}}");
  return (messages) =>
    parts
      .map((part) => {
        if (part.kind !== "section") return part.kind === "text" ? part.text : "";
        return messages.map((message) => written(part.parts, message)).join("");
      })
      .join("");
}

function readParts(
  template: string,
  from: number,
  open: readonly string[],
): { readonly parts: readonly Part[]; readonly at: number } {
  const parts: Part[] = [];
  let at = from;
  while (at < template.length) {
    const begin = template.indexOf("{{", at);
    if (begin === -1) {
      parts.push({ kind: "text", text: template.slice(at) });
      at = template.length;
      break;
    }
    if (begin > at) parts.push({ kind: "text", text: template.slice(at, begin) });
    tag.lastIndex = begin;
    const [whole, sign, name] = tag.exec(template) ?? [];
    if (whole === undefined || name === undefined) {
      throw new Error(`it has {{ at position ${begin} without a name and }}`);
    }
    at = begin + whole.length;
    if (sign === "/") {
      if (open.at(-1) !== name) throw new Error(`it closes {{/${name}}}, which is not open`);
      return { parts, at };
    }
    if (sign === "#") {
      if ((name === "messages") !== (open.length === 0)) {
        throw new Error(
          `it has {{#${name}}}; roles stand in {{#messages}}, and nothing else outside`,
        );
      }
      const section = readParts(template, at, [...open, name]);
      parts.push({ kind: "section", name, parts: section.parts });
      at = section.at;
      continue;
    }
    if (open.length === 0 || (name !== "role" && name !== "content")) {
      throw new Error(`it has {{${name}}}; {{role}} and {{content}} stand in {{#messages}}`);
    }
    parts.push({ kind: "value", of: name });
  }
  if (open.length > 0) throw new Error(`it does not close {{#${open.at(-1)}}}`);
  return { parts, at };
}

function written(parts: readonly Part[], message: ChatMessage): string {
  return parts.map((part) => partText(part, message)).join("");
}

function partText(part: Part, message: ChatMessage): string {
  switch (part.kind) {
    case "text":
      return part.text;
    case "value":
      return message[part.of];
    case "section":
      return part.name === message.role ? written(part.parts, message) : "";
  }
}
