import type { Transport } from "@connectrpc/connect";
import type { WireChannelOptions } from "./channel-options.ts";
import { type ConnectTransportSettings, connectTransport } from "./connect-transport.ts";
import { universalClient } from "./universal-client.ts";
import { WireChannel } from "./wire-channel.ts";

/** Settings of a transport: a channel or those of a new one, and Connect's own. */
export type WireTransportOptions = ConnectTransportSettings & {
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
  const baseUrl = `${channel.scheme}://${channel.authority}`;
  return {
    ...connectTransport(options.protocol, universalClient(channel), baseUrl, options),
    channel,
  };
}
