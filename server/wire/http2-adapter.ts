import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { type Peer, peerKey } from "./peer.ts";
import { PeerGoneError } from "./request-signal.ts";

const noBody: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** Answers one HTTP/2 request through a universal handler. Never rejects. */
export async function answerHttp2(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  endStream: boolean,
  peer: Peer,
  origin: string,
  handler: UniversalHandlerFn,
  onError: (error: Error) => void,
): Promise<void> {
  const abort = new AbortController();
  // A reset stream errors; 'close' follows in every case, and what is to be done is done there.
  stream.on("error", onStreamError);
  stream.once("close", () => {
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR || !stream.writableFinished) {
      abort.abort(new PeerGoneError());
    }
  });
  try {
    const response = await handler({
      httpVersion: "2.0",
      method: headers[":method"] ?? "GET",
      url: origin + (headers[":path"] ?? "/"),
      header: toHeaders(headers),
      body: endStream ? noBody : (stream as AsyncIterable<Uint8Array>),
      signal: abort.signal,
      contextValues: createContextValues().set(peerKey, peer),
    });
    await writeResponse(stream, response);
  } catch (error) {
    if (stream.destroyed || abort.signal.aborted) return;
    onError(error instanceof Error ? error : new Error(String(error)));
    if (!stream.headersSent) stream.respond({ ":status": 500 }, { endStream: true });
    else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  } finally {
    // Nobody reads what is left of the body of a request that is answered: stop the peer sending it.
    if (!stream.destroyed && !stream.readableEnded) {
      if (stream.writableFinished) stream.close(constants.NGHTTP2_NO_ERROR);
      else stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
      stream.resume();
    }
  }
}

function onStreamError(): void {}

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

async function writeResponse(
  stream: ServerHttp2Stream,
  response: UniversalServerResponse,
): Promise<void> {
  if (stream.destroyed) {
    await discard(response);
    return;
  }
  const headers = fromHeaders(response.header);
  headers[":status"] = response.status;
  const trailer = response.trailer;
  if (!response.body) {
    if (!trailer || isEmpty(trailer)) {
      stream.respond(headers, { endStream: true });
      return;
    }
    // Trailers without a body go out as headers: gRPC's Trailers-Only form.
    stream.respond(headers, { waitForTrailers: true });
    stream.once("wantTrailers", () => stream.sendTrailers(fromHeaders(trailer)));
    stream.end();
    return;
  }
  const iterator = response.body[Symbol.asyncIterator]();
  const first = await iterator.next();
  // Trailers are complete only when the body has ended, so they are read when they are wanted.
  stream.respond(headers, { waitForTrailers: trailer !== undefined });
  if (trailer) {
    stream.once("wantTrailers", () => {
      if (!stream.destroyed) stream.sendTrailers(fromHeaders(trailer));
    });
  }
  let next = first;
  while (!next.done) {
    if (stream.destroyed) {
      await iterator.return?.();
      return;
    }
    const more = stream.write(next.value);
    if (!more) await drained(stream);
    next = await iterator.next();
  }
  stream.end();
}

async function discard(response: UniversalServerResponse): Promise<void> {
  await response.body?.[Symbol.asyncIterator]().return?.();
}

function drained(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) {
      resolve();
      return;
    }
    const done = (): void => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}

function fromHeaders(headers: Headers | undefined): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = {};
  headers?.forEach((value, name) => {
    fields[name] = value;
  });
  return fields;
}

function isEmpty(headers: Headers): boolean {
  return headers.keys().next().done === true;
}
