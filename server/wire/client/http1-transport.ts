import type { Transport } from "@connectrpc/connect";
import { createNodeHttpClient, type NodeHttpClientOptions } from "@connectrpc/connect-node";
import { type ConnectTransportSettings, connectTransport } from "./connect-transport.ts";

/** Settings of a transport over HTTP/1.1. */
export type Http1TransportOptions = ConnectTransportSettings & {
  /** gRPC itself needs HTTP/2. */
  readonly protocol: "grpc-web" | "connect";
  /** `http://host:port` or `https://host:port`. */
  readonly baseUrl: string;
  /** Agent and TLS settings, as for node:http. */
  readonly nodeOptions?: (NodeHttpClientOptions & { httpVersion: "1.1" })["nodeOptions"];
};

/**
 * Makes a transport for generated clients over node:http, for servers and proxies without HTTP/2.
 *
 * @throws ConnectError for limits that are no counts
 */
export function createHttp1Transport(options: Http1TransportOptions): Transport {
  const { protocol, baseUrl, nodeOptions } = options;
  const client = createNodeHttpClient({
    httpVersion: "1.1",
    ...(nodeOptions ? { nodeOptions } : {}),
  });
  return connectTransport(protocol, client, baseUrl, options);
}
