import { type ClientHttp2Session, connect } from "node:http2";
import { setTimeout as wait } from "node:timers/promises";
import type { BenchCall } from "../cases/bench-case.ts";

type Call = Pick<BenchCall, "path" | "request">;

/** Time between two attempts; what is measured is at most this much too long. */
const pollMs = 2;
const attemptMs = 10_000;

/**
 * Calls a server that is starting until it answers, and gives the answer's message. It is connected to
 * again and again until that succeeds, and then called again and again on that connection, as a gRPC
 * channel with retries does.
 *
 * @throws what `signal` says if there is none by then
 */
export async function firstAnswer(port: number, call: Call, signal: AbortSignal): Promise<Buffer> {
  for (;;) {
    const session = await connectTo(port);
    if (session) {
      try {
        while (!session.closed && !session.destroyed) {
          const answer = await attempt(session, call);
          if (answer) return answer;
          await wait(pollMs, undefined, { signal });
        }
      } finally {
        session.destroy();
      }
    }
    await wait(pollMs, undefined, { signal });
  }
}

/** A connection; `undefined` if nothing listens. */
function connectTo(port: number): Promise<ClientHttp2Session | undefined> {
  return new Promise((resolve) => {
    const session = connect(`http://127.0.0.1:${port}`);
    session.on("error", () => resolve(undefined));
    session.on("close", () => resolve(undefined));
    session.on("connect", () => resolve(session));
  });
}

/** One unary gRPC call; `undefined` unless its status is OK. */
function attempt(
  session: ClientHttp2Session,
  { path, request }: Call,
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    let status: unknown;
    stream.setTimeout(attemptMs, () => stream.destroy());
    stream.on("error", () => resolve(undefined));
    stream.on("close", () => resolve(undefined));
    stream.on("response", (headers) => {
      status = headers["grpc-status"];
    });
    stream.on("trailers", (trailers) => {
      status = trailers["grpc-status"];
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      // The first five bytes say how long the message is.
      resolve(status === "0" ? Buffer.concat(chunks).subarray(5) : undefined);
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(request.byteLength, 1);
    stream.end(Buffer.concat([head, request]));
  });
}
