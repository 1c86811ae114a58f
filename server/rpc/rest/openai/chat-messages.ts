import { parameterUnsupported } from "../../../errors/generation-errors.ts";
import { parameterInvalid } from "../../../errors/request-errors.ts";
import { asObject, type JsonObject } from "../json-object.ts";
import { field, givenText, refuseOthers } from "./body-fields.ts";
import type { ChatMessage } from "./chat-template.ts";

const roles = ["system", "developer", "user", "assistant"];

const known: ReadonlySet<string> = new Set(["role", "content", "name"]);

/**
 * Reads the messages of a chat. Contents are strings, or parts of which each is text.
 *
 * @throws TensorwireError `PARAMETER_INVALID`, `PARAMETER_UNSUPPORTED` for images, tools and the like
 */
export function readMessages(body: JsonObject): ChatMessage[] {
  const messages = field(body, "messages");
  if (!Array.isArray(messages) || messages.length === 0) {
    throw parameterInvalid("messages", givenText(messages), "a list of one message or more");
  }
  return messages.map((message, index) => {
    const where = `messages[${index}]`;
    const object = asObject(message, where);
    refuseOthers(object, known);
    const role = field(object, "role");
    if (typeof role !== "string" || !roles.includes(role)) {
      throw parameterInvalid(`${where}.role`, givenText(role), `one of ${roles.join(", ")}`);
    }
    return { role, content: contentOf(object, `${where}.content`) };
  });
}

function contentOf(message: JsonObject, where: string): string {
  const content = field(message, "content");
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) {
    throw parameterInvalid(where, givenText(content), "a string, or parts of type text");
  }
  return content
    .map((part, index) => {
      const { type, text } = asObject(part, `${where}[${index}]`);
      if (type !== "text") {
        throw parameterUnsupported(
          `${where}[${index}]`,
          `a part of type ${givenText(type)} is no text`,
        );
      }
      if (typeof text !== "string") {
        throw parameterInvalid(`${where}[${index}].text`, givenText(text), "a string");
      }
      return text;
    })
    .join("");
}
