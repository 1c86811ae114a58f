import type { IncomingMessage, ServerResponse } from "node:http";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { type Peer, peerKey } from "./peer.ts";
import { PeerGoneError } from "./request-signal.ts";

/** Answers one HTTP/1.1 request through a universal handler. Never rejects. */
export async function answerHttp1(
  request: IncomingMessage,
  response: ServerResponse,
  peer: Peer,
  origin: string,
  handler: UniversalHandlerFn,
  onError: (error: Error) => void,
): Promise<void> {
  const abort = new AbortController();
  request.on("error", onSocketError);
  response.on("error", onSocketError);
  response.once("close", () => {
    if (!response.writableFinished) abort.abort(new PeerGoneError());
  });
  try {
    const answer = await handler({
      httpVersion: request.httpVersion,
      method: request.method ?? "GET",
      url: origin + (request.url ?? "/"),
      header: toHeaders(request.rawHeaders),
      body: request as AsyncIterable<Uint8Array>,
      signal: abort.signal,
      contextValues: createContextValues().set(peerKey, peer),
    });
    await writeResponse(request, response, answer);
  } catch (error) {
    if (response.destroyed || abort.signal.aborted) return;
    onError(error instanceof Error ? error : new Error(String(error)));
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { "content-length": 0 }).end();
  }
}

function onSocketError(): void {}

function toHeaders(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let index = 0; index + 1 < raw.length; index += 2)
    headers.append(raw[index]!, raw[index + 1]!);
  return headers;
}

async function writeResponse(
  request: IncomingMessage,
  response: ServerResponse,
  answer: UniversalServerResponse,
): Promise<void> {
  answer.header?.forEach((value, name) => {
    response.setHeader(name, value);
  });
  // A body that nobody reads would keep the connection from its next request.
  if (!request.complete) response.setHeader("connection", "close");
  response.statusCode = answer.status;
  const iterator = answer.body?.[Symbol.asyncIterator]();
  if (!iterator || request.method === "HEAD") {
    await iterator?.return?.();
    if (
      !response.hasHeader("content-length") &&
      request.method !== "HEAD" &&
      answer.status !== 204
    ) {
      response.setHeader("content-length", 0);
    }
    response.end();
    return;
  }
  let next = await iterator.next();
  while (!next.done) {
    if (response.destroyed) {
      await iterator.return?.();
      return;
    }
    if (!response.write(next.value)) await drained(response);
    next = await iterator.next();
  }
  if (answer.trailer) {
    const trailers: [string, string][] = [];
    answer.trailer.forEach((value, name) => {
      trailers.push([name, value]);
    });
    if (trailers.length > 0) response.addTrailers(trailers);
  }
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed) {
      resolve();
      return;
    }
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}
