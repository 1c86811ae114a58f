import { once } from "node:events";
import { createServer as createHttp1Server } from "node:http";
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { ExecutionContext } from "ava";
import { GRPCInferenceService } from "../../../gen/inference/grpc_service_pb.ts";

/** Methods that a test answers; the others answer UNIMPLEMENTED. */
export type FakeService = Partial<ServiceImpl<typeof GRPCInferenceService>>;

/** Where and how a fake server listens. */
export interface FakeServerOptions {
  readonly unixPath?: string;
  readonly tls?: { readonly key: Buffer; readonly cert: Buffer; readonly ca?: Buffer };
}

/** Serves methods over HTTP/2 until the test ends; gives the port, 0 on a unix socket. */
export async function startFakeServer(
  t: ExecutionContext<unknown>,
  service: FakeService,
  { unixPath, tls }: FakeServerOptions = {},
): Promise<number> {
  const handler = connectNodeAdapter({
    routes: (router) => {
      router.service(GRPCInferenceService, service);
    },
  });
  const server: Http2Server | Http2SecureServer = tls
    ? createSecureServer({ ...tls, requestCert: tls.ca !== undefined }, handler)
    : createServer(handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
  });
  t.teardown(() => {
    server.close();
    for (const session of sessions) session.destroy();
  });
  if (unixPath === undefined) server.listen(0, "127.0.0.1");
  else server.listen(unixPath);
  await once(server, "listening");
  return unixPath === undefined ? (server.address() as AddressInfo).port : 0;
}

/** Serves methods over HTTP/1.1, as a browser may call them; gives the port. */
export async function startFakeWebServer(
  t: ExecutionContext<unknown>,
  service: FakeService,
): Promise<number> {
  const server = createHttp1Server(
    connectNodeAdapter({
      routes: (router) => {
        router.service(GRPCInferenceService, service);
      },
    }),
  );
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
  });
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
