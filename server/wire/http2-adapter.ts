import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { drained } from "./drained.ts";
import { type Peer, peerKey } from "./peer.ts";
import { RequestBody } from "./request-body.ts";
import { PeerGoneError } from "./request-signal.ts";

const noBody: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** How long a peer may go on sending a request that is answered, in ms. */
const lingerMs = 1_000;

/** Fields that speak of an HTTP/1.1 connection and must not be sent (RFC 9113, section 8.2.2). */
const connectionFields = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Answers one HTTP/2 request through a universal handler. Never rejects.
 *
 * @param url - of the request, absolute
 */
export async function answerHttp2(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  endStream: boolean,
  peer: Peer,
  url: string,
  handler: UniversalHandlerFn,
  onError: (error: Error) => void,
): Promise<void> {
  const abort = new AbortController();
  const body = endStream
    ? undefined
    : new RequestBody({
        stream,
        // Node ends the readable side of a stream that is reset, as if its request were whole.
        isCutShort: () => stream.aborted || stream.rstCode !== constants.NGHTTP2_NO_ERROR,
      });
  let bodyOfAnswer: AsyncIterator<Uint8Array> | undefined;
  // A reset stream errors; 'close' follows in every case, and what is to be done is done there.
  stream.on("error", onStreamError);
  stream.once("close", () => {
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR && stream.writableEnded) return;
    abort.abort(new PeerGoneError());
    leave(bodyOfAnswer);
  });
  try {
    const method = headers[":method"] ?? "GET";
    const response = await handler({
      httpVersion: "2.0",
      method,
      url,
      header: toHeaders(headers),
      body: body ?? noBody,
      signal: abort.signal,
      contextValues: createContextValues().set(peerKey, peer),
    });
    bodyOfAnswer = response.body?.[Symbol.asyncIterator]();
    if (stream.destroyed || stream.closed) {
      leave(bodyOfAnswer);
      return;
    }
    if (!bodyOfAnswer || method === "HEAD") {
      leave(bodyOfAnswer);
      writeWithoutBody(stream, response);
    } else {
      await writeWithBody(stream, response, bodyOfAnswer);
    }
  } catch (error) {
    if (abort.signal.aborted) return;
    onError(error instanceof Error ? error : new Error(String(error)));
    leave(bodyOfAnswer);
    answerFailure(stream);
  } finally {
    leave(body);
    if (body) refuseRest(stream);
  }
}

function onStreamError(): void {
  // See 'close'.
}

/** Tells an iterator that nobody reads on; what it does then is its own affair. */
function leave(iterator: AsyncIterator<Uint8Array> | undefined): void {
  iterator?.return?.().catch(() => {});
}

function answerFailure(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  else stream.respond({ ":status": 500 }, { endStream: true });
}

/**
 * Drops what a peer still sends of a request that is answered, and stops it if it goes on
 * (RFC 9113, section 8.1). It is given time, because the frame that stops it overtakes trailers.
 */
function refuseRest(stream: ServerHttp2Stream): void {
  if (stream.destroyed || stream.readableEnded) return;
  stream.resume();
  const stop = (): void => {
    const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), lingerMs);
    stream.once("end", () => clearTimeout(timer));
    stream.once("close", () => clearTimeout(timer));
  };
  if (stream.writableFinished) stop();
  else stream.once("finish", stop);
}

function toHeaders(fields: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const name in fields) {
    if (name.startsWith(":")) continue;
    const value = fields[name];
    if (typeof value === "string") headers.append(name, value);
    else if (value !== undefined) for (const item of value) headers.append(name, item);
  }
  return headers;
}

function writeWithoutBody(stream: ServerHttp2Stream, response: UniversalServerResponse): void {
  const headers = fromHeaders(response.header);
  headers[":status"] = response.status;
  const { trailer } = response;
  if (trailer === undefined || trailer.keys().next().done) {
    stream.respond(headers, { endStream: true });
    return;
  }
  stream.respond(headers, { waitForTrailers: true });
  stream.once("wantTrailers", () => sendTrailers(stream, trailer));
  stream.end();
}

async function writeWithBody(
  stream: ServerHttp2Stream,
  response: UniversalServerResponse,
  body: AsyncIterator<Uint8Array>,
): Promise<void> {
  // Connect lets a handler set headers until its first message.
  let next = await body.next();
  if (stream.destroyed || stream.closed) return;
  const { trailer } = response;
  const headers = fromHeaders(response.header);
  headers[":status"] = response.status;
  if (next.done && trailer && isGrpc(headers) && trailer.get("grpc-status") !== "0") {
    // Trailers-Only: an error without a message before it is one header block.
    stream.respond(Object.assign(headers, fromHeaders(trailer)), { endStream: true });
    return;
  }
  stream.respond(headers, { waitForTrailers: trailer !== undefined });
  if (trailer) {
    // Trailers are complete only when the body has ended, so they are read when they are wanted.
    stream.once("wantTrailers", () => sendTrailers(stream, trailer));
  }
  while (!next.done) {
    const flushed = stream.write(next.value);
    if (!flushed) await drained(stream);
    if (stream.destroyed || stream.closed) return;
    next = await body.next();
  }
  stream.end();
}

function isGrpc(headers: OutgoingHttpHeaders): boolean {
  const type = headers["content-type"];
  return (
    typeof type === "string" &&
    type.startsWith("application/grpc") &&
    !type.startsWith("application/grpc-web")
  );
}

function sendTrailers(stream: ServerHttp2Stream, trailer: Headers): void {
  if (!stream.destroyed && !stream.closed) stream.sendTrailers(fromHeaders(trailer));
}

function fromHeaders(headers: Headers | undefined): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = {};
  headers?.forEach((value, name) => {
    if (name === "set-cookie") fields[name] = headers.getSetCookie();
    else if (!connectionFields.has(name)) fields[name] = value;
  });
  return fields;
}
