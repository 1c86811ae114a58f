import { nameOfTarget, type WireTarget } from "./channel-options.ts";

/** Settings of a channel to a server of HTTP/1.1. */
export interface Http1ChannelOptions {
  readonly target: WireTarget;
  /** Connections at once; calls beyond wait for one. Default 1024. */
  readonly maxConnections?: number;
  /** Calls that may wait for a connection; beyond it they fail with RESOURCE_EXHAUSTED. Default 1024. */
  readonly maxWaitingCalls?: number;
  /** Time for TCP, in ms. Default 20 000. */
  readonly connectTimeoutMs?: number;
  /**
   * Time without a call after which a connection is closed, in ms. A server that closes its own at the
   * moment at which a call is sent leaves open whether it was processed, so this is shorter than what
   * servers wait (gunicorn 2 s, Node and uvicorn 5 s); a connection on one machine costs 0.1 ms. A shorter
   * time that the server names by `Keep-Alive: timeout` counts. Default 1000.
   */
  readonly idleTimeoutMs?: number;
  /** Bytes of a head. Default 64 KiB. */
  readonly maxHeaderBytes?: number;
  /**
   * Bytes of a request that are kept until its answer begins, so that it can be sent again if the server
   * did not process it. Default 64 KiB.
   */
  readonly replayBytes?: number;
}

/** All settings, with the defaults filled in. */
export type Http1ChannelSettings = Required<Http1ChannelOptions> & { readonly targetName: string };

export function http1ChannelSettings(options: Http1ChannelOptions): Http1ChannelSettings {
  return {
    target: options.target,
    targetName: nameOfTarget(options.target),
    maxConnections: options.maxConnections ?? 1024,
    maxWaitingCalls: options.maxWaitingCalls ?? 1024,
    connectTimeoutMs: options.connectTimeoutMs ?? 20_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 1_000,
    maxHeaderBytes: options.maxHeaderBytes ?? 64 * 1024,
    replayBytes: options.replayBytes ?? 64 * 1024,
  };
}
