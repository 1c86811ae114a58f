import type { Socket } from "node:net";

/** First bytes of an HTTP/2 connection (RFC 9113, section 3.4). */
const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** What the first bytes of a connection say of its protocol. */
export type Sniffed = "http2" | "http1" | "undecided";

/**
 * Tells HTTP/2 by prior knowledge from HTTP/1.1. The three bytes `PRI` decide: no method of HTTP/1.1
 * begins so, and a connection that goes on unlike the preface is refused by the HTTP/2 side.
 */
export function sniff(bytes: Uint8Array): Sniffed {
  const length = Math.min(bytes.byteLength, 3);
  for (let index = 0; index < length; index++) {
    if (bytes[index] !== preface[index]) return "http1";
  }
  return length < 3 ? "undecided" : "http2";
}

/**
 * Waits for the bytes that tell the protocol and gives them back to the socket, which is paused then.
 *
 * @param timeoutMs - a socket that stays silent for as long is destroyed
 * @param decided - called once, unless the socket closes first
 * @param timedOut - called before a silent socket is destroyed
 */
export function sniffSocket(
  socket: Socket,
  timeoutMs: number,
  decided: (protocol: "http1" | "http2") => void,
  timedOut?: () => void,
): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => {
    timedOut?.();
    socket.destroy();
  }, timeoutMs);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off("readable", onReadable);
    socket.off("close", stop);
    socket.off("error", stop);
    socket.off("end", onEnd);
  };
  const onEnd = (): void => {
    stop();
    socket.destroy();
  };
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    seen = seen.byteLength === 0 ? chunk : Buffer.concat([seen, chunk]);
    const protocol = sniff(seen);
    if (protocol === "undecided") return;
    stop();
    socket.unshift(seen);
    decided(protocol);
  };
  socket.on("readable", onReadable);
  socket.on("close", stop);
  socket.on("error", stop);
  socket.on("end", onEnd);
}
