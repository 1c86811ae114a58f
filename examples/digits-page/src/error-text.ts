import type { InferenceError } from "@tensorwire/client/web";

/** Says to a person what a failed call means and what to do. */
export function errorText({ code, message }: InferenceError): {
  readonly title: string;
  readonly text: string;
} {
  switch (code) {
    case "UNAVAILABLE":
      return { title: "No answer from the server.", text: sentence(message) };
    case "DEADLINE_EXCEEDED":
      return { title: "The server took too long.", text: sentence(message) };
    case "NOT_FOUND":
      return {
        title: "The server has no digits model.",
        text: `${sentence(message)} Start it with examples/models.`,
      };
    default:
      return { title: `The call failed (${code}).`, text: sentence(message) };
  }
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}
