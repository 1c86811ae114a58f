import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  OutgoingHttpHeaders,
} from "node:http2";
import { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * Bytes that the server may send ahead, on a stream and on the connection. Node's 64 KiB make an
 * answer of some megabytes wait for a round trip every 64 KiB.
 */
export const windowBytes = 16 * 1024 * 1024;

/**
 * Opens the window of each new connection. The window of streams is a setting that is sent with the
 * connection's first bytes; that of the connection can only be changed afterwards.
 */
export class LargeWindowSessionManager extends Http2SessionManager {
  #latest: ClientHttp2Session | undefined;

  override async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, "signal">,
  ): Promise<ClientHttp2Stream> {
    const stream = await super.request(method, path, headers, options);
    const session = stream.session as ClientHttp2Session | undefined;
    if (session !== undefined && session !== this.#latest) {
      this.#latest = session;
      session.setLocalWindowSize(windowBytes);
    }
    return stream;
  }
}
