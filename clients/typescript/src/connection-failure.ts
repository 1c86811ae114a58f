import { Code, ConnectError } from "@connectrpc/connect";

/** Failure of the connection under a call. */
export interface ConnectionFailure {
  /**
   * `never-sent`: no connection came about, or the server gave the stream back unprocessed.
   * `unknown`: the server may have processed the call.
   */
  readonly processed: "never-sent" | "unknown";
  /** Says what happened, for a person. */
  readonly explain: (target: string) => string;
}

/** System calls of Node that fail before anything is sent. */
const connectSyscalls: readonly unknown[] = ["connect", "getaddrinfo"];

/** Error codes of Node for a TLS handshake that the two sides could not agree on. */
const tlsCode = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH)/;

/** Error codes of Node for a connection or stream that ended early. */
const cutCodes: readonly unknown[] = [
  "ECONNRESET",
  "EPIPE",
  "ERR_STREAM_PREMATURE_CLOSE",
  "ERR_STREAM_DESTROYED",
  "ERR_HTTP2_INVALID_STREAM",
  "ERR_HTTP2_INVALID_SESSION",
  "ERR_HTTP2_GOAWAY_SESSION",
  "ERR_HTTP2_SESSION_ERROR",
  "ERR_HTTP2_STREAM_CANCEL",
  "ERR_HTTP2_STREAM_ERROR",
];

/**
 * Recognises a failure of the connection by what Node's sockets and browsers' fetch throw;
 * `undefined` for anything else, such as a status that the server sent.
 */
export function failureOfConnection(thrown: unknown): ConnectionFailure | undefined {
  if (thrown instanceof ConnectError && refusedStream.test(thrown.rawMessage)) {
    return {
      processed: "never-sent",
      explain: (target) => `${target} refused the call before processing it; try again`,
    };
  }
  if (thrown instanceof ConnectError && lostConnection.test(thrown.rawMessage)) {
    return {
      processed: "unknown",
      explain: (target) => `the connection to ${target} ended before the answer`,
    };
  }
  // What the caller cancelled, or what ran out of time, also tears its stream down.
  if (thrown instanceof ConnectError && endedByCaller.includes(thrown.code)) return undefined;
  for (const error of causes(thrown)) {
    const { code, syscall } = error as { code?: unknown; syscall?: unknown };
    if (connectSyscalls.includes(syscall)) {
      return {
        processed: "never-sent",
        explain: (target) =>
          `cannot reach ${target}: ${error.message}; check that the server is up and the address right`,
      };
    }
    if (typeof code === "string" && tlsCode.test(code)) {
      return {
        processed: "never-sent",
        explain: (target) =>
          `no TLS connection to ${target}: ${error.message}; check its certificate and the options of tls`,
      };
    }
    if (cutCodes.includes(code)) {
      return {
        processed: "unknown",
        explain: (target) =>
          `the connection to ${target} ended before the answer: ${error.message}`,
      };
    }
    // The fetch standard asks for a TypeError on any network failure, and tells no more.
    if (error instanceof TypeError && fetchFailure.test(error.message)) {
      return {
        processed: "unknown",
        explain: (target) =>
          `cannot reach ${target}: ${error.message}; check that the server is up and allows this page's origin (CORS)`,
      };
    }
  }
  return undefined;
}

/** https://www.rfc-editor.org/rfc/rfc9113#section-8.7: a refused stream was not processed. */
const refusedStream = /REFUSED_STREAM/;
/** Node closes the streams of a lost connection as if this side had cancelled them. */
const lostConnection = /^http\/2 stream closed with error code CANCEL/;
const endedByCaller: readonly Code[] = [Code.Canceled, Code.DeadlineExceeded];
/** Chromium, Node, Firefox, Safari. */
const fetchFailure = /fetch failed|failed to fetch|networkerror|network error|load failed/i;

function causes(thrown: unknown): Error[] {
  const chain: Error[] = [];
  let current = thrown;
  while (current instanceof Error && !chain.includes(current)) {
    chain.push(current);
    // A host with several addresses fails with one error for each; the first stands for all.
    current = current instanceof AggregateError ? current.errors[0] : current.cause;
  }
  return chain;
}
