import type { IncomingMessage, ServerResponse } from "node:http";
import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { drained } from "./drained.ts";
import { type Peer, peerKey } from "./peer.ts";
import { RequestBody } from "./request-body.ts";
import { AccountedMemory, type MemoryAccount, requestMemoryKey } from "./request-memory.ts";
import { PeerGoneError } from "./request-signal.ts";

/** What is still read of the body of a request that is answered before the connection is cut. */
const lingerBytes = 8 * 1024 * 1024;
const lingerMs = 5_000;

/** Bytes of an answer that are written at once: what a peer takes shows in such steps. */
const stepBytes = 256 * 1024;

/** Whoever the requests of a server are answered for; what is taken of the account is room for their messages. */
export interface Http1Owner extends MemoryAccount {
  /** Time for a peer to take a step of its answer, in ms. */
  readonly stepTimeoutMs: number;
  onError(error: Error): void;
  /** A peer did not take a step of its answer in time; its connection is closed. */
  onSlowRead(): void;
}

/**
 * Answers one HTTP/1.1 request through a universal handler. Never rejects.
 *
 * @param url - of the request, absolute
 */
export async function answerHttp1(
  request: IncomingMessage,
  response: ServerResponse,
  peer: Peer,
  url: string,
  handler: UniversalHandlerFn,
  owner: Http1Owner,
): Promise<void> {
  const abort = new AbortController();
  const memory = new AccountedMemory(owner);
  const body = new RequestBody({ stream: request, isCutShort: () => !request.complete });
  let bodyOfAnswer: AsyncIterator<Uint8Array> | undefined;
  // Both error when the socket breaks; the response's 'close' follows in every case.
  request.on("error", onSocketError);
  response.on("error", onSocketError);
  response.once("close", () => {
    if (response.writableFinished) return;
    abort.abort(new PeerGoneError());
    leave(bodyOfAnswer);
  });
  try {
    const answer = await handler({
      httpVersion: request.httpVersion,
      method: request.method ?? "GET",
      url,
      header: toHeaders(request.rawHeaders),
      body,
      signal: abort.signal,
      contextValues: createContextValues().set(peerKey, peer).set(requestMemoryKey, memory),
    });
    bodyOfAnswer = answer.body?.[Symbol.asyncIterator]();
    if (response.destroyed) leave(bodyOfAnswer);
    else await writeResponse(request, response, answer, bodyOfAnswer, owner);
  } catch (error) {
    if (abort.signal.aborted) return;
    owner.onError(error instanceof Error ? error : new Error(String(error)));
    leave(bodyOfAnswer);
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { "content-length": 0 }).end();
  } finally {
    leave(body);
    memory.hold(0);
    dropRest(request);
  }
}

function onSocketError(): void {
  // See 'close'.
}

/** Tells an iterator that nobody reads on; what it does then is its own affair. */
function leave(iterator: AsyncIterator<Uint8Array> | undefined): void {
  iterator?.return?.().catch(() => {});
}

/**
 * Reads and drops what is left of a request that is answered. To close at once would make the kernel
 * reset the connection, and the peer could lose the answer (RFC 9112, section 9.6).
 */
function dropRest(request: IncomingMessage): void {
  if (request.complete || request.destroyed) {
    request.resume();
    return;
  }
  const { socket } = request;
  const cut = (): void => void socket.destroy();
  const timer = setTimeout(cut, lingerMs);
  const stop = (): void => {
    clearTimeout(timer);
    // The socket outlives the request.
    socket.off("close", stop);
  };
  let dropped = 0;
  request.on("data", (chunk: Uint8Array) => {
    dropped += chunk.byteLength;
    if (dropped > lingerBytes) cut();
  });
  request.once("end", stop);
  socket.once("close", stop);
  request.resume();
}

function toHeaders(raw: readonly string[]): Headers {
  const headers = new Headers();
  for (let index = 0; index + 1 < raw.length; index += 2) {
    headers.append(raw[index]!, raw[index + 1]!);
  }
  return headers;
}

async function writeResponse(
  request: IncomingMessage,
  response: ServerResponse,
  answer: UniversalServerResponse,
  body: AsyncIterator<Uint8Array> | undefined,
  owner: Http1Owner,
): Promise<void> {
  response.statusCode = answer.status;
  if (!body || request.method === "HEAD") {
    leave(body);
    writeHeaders(response, answer.header);
    const bodyless = request.method === "HEAD" || answer.status === 204 || answer.status === 304;
    if (!bodyless && !response.hasHeader("content-length")) response.setHeader("content-length", 0);
    response.end();
    return;
  }
  // Connect lets a handler set headers until its first message.
  let next = await body.next();
  writeHeaders(response, answer.header);
  while (!next.done) {
    await writeInSteps(response, next.value, owner);
    if (response.destroyed) return;
    next = await body.next();
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

async function writeInSteps(
  response: ServerResponse,
  bytes: Uint8Array,
  { stepTimeoutMs, onSlowRead }: Http1Owner,
): Promise<void> {
  for (let at = 0; at < bytes.byteLength && !response.destroyed; at += stepBytes) {
    if (response.write(bytes.subarray(at, at + stepBytes))) continue;
    await drained(response, stepTimeoutMs, () => {
      onSlowRead();
      response.destroy();
    });
  }
}

function writeHeaders(response: ServerResponse, header: Headers | undefined): void {
  header?.forEach((value, name) => {
    if (name === "set-cookie") response.setHeader(name, header.getSetCookie());
    else response.setHeader(name, value);
  });
}
