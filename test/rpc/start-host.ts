import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { Client, credentials } from "@grpc/grpc-js";
import type { ExecutionContext } from "ava";
import type { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { createConnectHost } from "../../server/rpc/connect-host.ts";
import { startWire } from "../wire/start-wire.ts";

/** A host of a test, and the failures that it called its own. */
export interface TestHost {
  readonly port: number;
  readonly baseUrl: string;
  readonly internalErrors: { readonly error: TensorwireError; readonly method: string }[];
}

/** Serves services on a free port until the test ends; messages have 1 MiB at most. */
export async function startHost(
  t: ExecutionContext<unknown>,
  routes: (router: ConnectRouter) => void,
  {
    interceptors = [],
    fallback = async () => ({ status: 404 }),
    wrap = (handler) => handler,
  }: {
    readonly interceptors?: readonly Interceptor[];
    readonly fallback?: UniversalHandlerFn;
    readonly wrap?: (handler: UniversalHandlerFn) => UniversalHandlerFn;
  } = {},
): Promise<TestHost> {
  const internalErrors: { error: TensorwireError; method: string }[] = [];
  const handler = createConnectHost({
    routes,
    maxMessageBytes: 1024 * 1024,
    maxTimeoutMs: 3_600_000,
    interceptors,
    onInternalError: (error, method) => internalErrors.push({ error, method }),
    fallback,
  });
  const { port } = await startWire(t, wrap(handler));
  return { port, baseUrl: `http://127.0.0.1:${port}`, internalErrors };
}

/** A client of @grpc/grpc-js until the test ends. */
export function openGrpcJs(t: ExecutionContext<unknown>, port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
  t.teardown(() => client.close());
  return client;
}

/** One message with its prefix, as gRPC sends it. */
export function envelope(message: Uint8Array, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags, 0);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}
