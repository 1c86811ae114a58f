import { connect } from "node:http2";
import { setTimeout as wait } from "node:timers/promises";
import type { BenchCall } from "../cases/bench-case.ts";

/** Time between two attempts; what is measured is at most this much too long. */
const pollMs = 2;
const attemptMs = 10_000;

/**
 * Calls a server that is starting until it answers, each time on a connection of its own, and gives the
 * answer's message.
 *
 * @throws what `signal` says if there is none by then
 */
export async function firstAnswer(
  port: number,
  call: Pick<BenchCall, "path" | "request">,
  signal: AbortSignal,
): Promise<Buffer> {
  for (;;) {
    const answer = await attempt(port, call);
    if (answer) return answer;
    await wait(pollMs, undefined, { signal });
  }
}

/** One unary gRPC call; `undefined` unless its status is OK. */
function attempt(
  port: number,
  { path, request }: Pick<BenchCall, "path" | "request">,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const session = connect(`http://127.0.0.1:${port}`);
    const end = (answer: Buffer | undefined): void => {
      session.destroy();
      resolve(answer);
    };
    session.on("error", () => end(undefined));
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    let status: unknown;
    stream.setTimeout(attemptMs, () => end(undefined));
    stream.on("error", () => end(undefined));
    stream.on("response", (headers) => (status = headers["grpc-status"]));
    stream.on("trailers", (trailers) => (status = trailers["grpc-status"]));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    // The first five bytes say how long the message is.
    stream.on("end", () => end(status === "0" ? Buffer.concat(chunks).subarray(5) : undefined));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(request.byteLength, 1);
    stream.end(Buffer.concat([head, request]));
  });
}
