import type { Readable } from "node:stream";

/** Characters of a line at most; the rest of it is left out. */
const mostCharacters = 8192;

/** Calls back with each line of a stream of text; of a long line with its beginning. */
export function linesOf(stream: Readable, take: (line: string) => void): void {
  let line = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const parts = chunk.split("\n");
    const rest = parts.pop() ?? "";
    for (const part of parts) {
      const whole = (line + part).slice(0, mostCharacters);
      line = "";
      if (whole !== "") take(whole);
    }
    line = (line + rest).slice(0, mostCharacters);
  });
  stream.on("end", () => {
    if (line !== "") take(line);
  });
}
