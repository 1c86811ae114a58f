import type { Transport } from "@connectrpc/connect";
import {
  type CommonTransportOptions,
  type UniversalClientFn,
  validateReadWriteMaxBytes,
} from "@connectrpc/connect/protocol";
import { createTransport as createConnect } from "@connectrpc/connect/protocol-connect";
import { createTransport as createGrpc } from "@connectrpc/connect/protocol-grpc";
import { createTransport as createGrpcWeb } from "@connectrpc/connect/protocol-grpc-web";
import { compressionBrotli, compressionGzip } from "../message-compressions.ts";
import { answerCorrections } from "./answer-corrections.ts";

/** Connect's settings of a transport, all with a default. */
export type ConnectTransportSettings = Partial<Omit<CommonTransportOptions, "httpClient">>;

/**
 * Makes a transport for generated clients: one of Connect's three protocols over any HTTP client, with
 * the corrections of {@link answerCorrections}. Answers in gzip and brotli are asked for, which servers of
 * all languages have, and requests are not compressed, unless the settings say otherwise;
 * server/wire/message-compressions has zstd and deflate too.
 *
 * @param baseUrl - where the settings name none
 * @throws ConnectError for limits that are no counts
 */
export function connectTransport(
  protocol: keyof typeof protocols,
  httpClient: UniversalClientFn,
  baseUrl: string,
  settings: ConnectTransportSettings,
): Transport {
  const { readMaxBytes, writeMaxBytes, compressMinBytes } = settings;
  const transport = protocols[protocol]({
    baseUrl: settings.baseUrl ?? baseUrl,
    useBinaryFormat: settings.useBinaryFormat ?? true,
    interceptors: [...(settings.interceptors ?? []), answerCorrections],
    sendCompression: settings.sendCompression ?? null,
    acceptCompression: settings.acceptCompression ?? [compressionGzip, compressionBrotli],
    ...validateReadWriteMaxBytes(readMaxBytes, writeMaxBytes, compressMinBytes),
    ...(settings.jsonOptions ? { jsonOptions: settings.jsonOptions } : {}),
    ...(settings.binaryOptions ? { binaryOptions: settings.binaryOptions } : {}),
    ...(settings.useHttpGet === undefined ? {} : { useHttpGet: settings.useHttpGet }),
    ...(settings.defaultTimeoutMs === undefined
      ? {}
      : { defaultTimeoutMs: settings.defaultTimeoutMs }),
    httpClient,
  });
  return {
    unary: transport.unary,
    stream(...call: Parameters<Transport["stream"]>) {
      const begun = transport.stream(...call);
      // Connect's client looks at it when the first answer is asked for. A call that failed before, such
      // as at its deadline while requests were written, would end the process as an unhandled rejection.
      begun.catch(() => {});
      return begun;
    },
  } as Transport;
}

const protocols = {
  grpc: createGrpc,
  "grpc-web": createGrpcWeb,
  connect: createConnect,
} as const;
