import type { SeenAnswer } from "../../queue-proxy/http-calls.ts";
import type { SeenRequest } from "../../queue-proxy/start-user-server.ts";

/** Headers of an answer that say nothing of what was answered. */
const answerNoise = new Set([
  // When it was.
  "date",
  // Node's server says by which connection it answers.
  "keep-alive",
]);

/**
 * An answer as it is compared. What the user's server saw is taken out of JSON, for names of headers are
 * the same in any order.
 */
export function comparable(answer: SeenAnswer): unknown {
  const headers = Object.fromEntries(
    Object.entries(answer.headers)
      .filter(([name]) => !answerNoise.has(name))
      // Names of headers, which are the same in any case.
      .map(([name, value]) => [name, name === "trailer" ? value.toLowerCase() : value]),
  );
  const isSeen = answer.headers["content-type"] === "application/json" && answer.body !== "";
  if (!isSeen || answer.broken !== undefined) return { ...answer, headers };
  const seen = JSON.parse(answer.body) as SeenRequest;
  const { "content-length": _, ...rest } = headers;
  return { ...answer, headers: rest, body: seen };
}
