import type { Transport } from "@connectrpc/connect";
import {
  type CommonTransportOptions,
  validateReadWriteMaxBytes,
} from "@connectrpc/connect/protocol";
import { createTransport as createConnect } from "@connectrpc/connect/protocol-connect";
import { createTransport as createGrpc } from "@connectrpc/connect/protocol-grpc";
import { createTransport as createGrpcWeb } from "@connectrpc/connect/protocol-grpc-web";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { answerCorrections } from "./answer-corrections.ts";
import type { WireChannelOptions } from "./channel-options.ts";
import { universalClient } from "./universal-client.ts";
import { WireChannel } from "./wire-channel.ts";

/** Settings of a transport: a channel or those of a new one, and Connect's own. */
export type WireTransportOptions = Partial<Omit<CommonTransportOptions, "httpClient">> & {
  readonly protocol: "grpc" | "grpc-web" | "connect";
} & ({ readonly channel: WireChannel } | (WireChannelOptions & { readonly channel?: undefined }));

/** A transport for generated clients, and its channel, which is to be closed. */
export interface WireTransport extends Transport {
  readonly channel: WireChannel;
}

/**
 * Makes a transport for generated clients over HTTP/2. `baseUrl` is by default the channel's scheme and
 * authority; answers in gzip and brotli are accepted, requests are not compressed.
 *
 * @throws ConnectError for limits that are no counts, RangeError for those of the channel
 */
export function createWireTransport(options: WireTransportOptions): WireTransport {
  const channel = options.channel ?? new WireChannel(options);
  const { readMaxBytes, writeMaxBytes, compressMinBytes } = options;
  const common: CommonTransportOptions = {
    baseUrl: options.baseUrl ?? `${channel.scheme}://${channel.authority}`,
    useBinaryFormat: options.useBinaryFormat ?? true,
    interceptors: [...(options.interceptors ?? []), answerCorrections],
    sendCompression: options.sendCompression ?? null,
    acceptCompression: options.acceptCompression ?? [compressionGzip, compressionBrotli],
    ...validateReadWriteMaxBytes(readMaxBytes, writeMaxBytes, compressMinBytes),
    ...(options.jsonOptions ? { jsonOptions: options.jsonOptions } : {}),
    ...(options.binaryOptions ? { binaryOptions: options.binaryOptions } : {}),
    ...(options.useHttpGet === undefined ? {} : { useHttpGet: options.useHttpGet }),
    ...(options.defaultTimeoutMs === undefined
      ? {}
      : { defaultTimeoutMs: options.defaultTimeoutMs }),
    httpClient: universalClient(channel),
  };
  return { ...protocols[options.protocol](common), channel };
}

const protocols = {
  grpc: createGrpc,
  "grpc-web": createGrpcWeb,
  connect: createConnect,
} as const;
