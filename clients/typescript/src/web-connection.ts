import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { parameterInvalid } from "../../../server/errors/request-errors.ts";
import type { Connection } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import { createHeaderInterceptor } from "./request-headers.ts";

/** Options of the client for browsers. */
export interface WebClientOptions extends ClientOptions {
  /** Default `grpc-web`. Both send binary messages over HTTP/1.1 or HTTP/2, as the browser likes. */
  readonly protocol?: "grpc-web" | "connect";
  /** Whether to send cookies, as fetch takes it. Default `same-origin`. */
  readonly credentials?: "omit" | "same-origin" | "include";
}

const protocols = {
  "grpc-web": createGrpcWebTransport,
  connect: createConnectTransport,
} as const;

/**
 * Prepares calls over fetch.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function createWebConnection(baseUrl: string, options: WebClientOptions): Connection {
  const { protocol = "grpc-web", credentials = "same-origin" } = options;
  if (!Object.hasOwn(protocols, protocol)) {
    throw parameterInvalid(
      "protocol",
      String(protocol),
      `${Object.keys(protocols).join(" or ")}; browsers cannot speak gRPC over HTTP/2`,
    );
  }
  if (!/^(https?:\/\/|\/|$)/i.test(String(baseUrl))) {
    throw parameterInvalid(
      "baseUrl",
      JSON.stringify(baseUrl),
      'https://host, http://host, "" or /path',
    );
  }
  let open = new AbortController();
  const transport = protocols[protocol]({
    baseUrl,
    useBinaryFormat: true,
    interceptors: [...(options.interceptors ?? []), createHeaderInterceptor(options)],
    fetch: (input, init) => {
      const signal = init?.signal ? AbortSignal.any([init.signal, open.signal]) : open.signal;
      return fetch(input, { ...init, credentials, signal });
    },
  });
  return {
    transport,
    target: baseUrl === "" ? "the page's own server" : baseUrl,
    streams: "answers-only",
    close() {
      open.abort();
      open = new AbortController();
    },
  };
}
