import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { acceptSockets, type SocketSourceOptions } from "../../server/wire/accept-sockets.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { openHttp2, openSocket, readAll, request2, startWire, text } from "./start-wire.ts";

const certificates = new URL("../clients/typescript/certificates/", import.meta.url);
const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));
const ok = async () => ({ status: 200, body: text("ok") });
const tcp = [{ host: "127.0.0.1", port: 0 }];

async function source(
  t: ExecutionContext,
  onSocket: SocketSourceOptions["onSocket"],
  unix?: string,
): Promise<number> {
  const accepted = await acceptSockets({
    tcp,
    unix,
    onSocket,
    onError: (error) => t.fail(`${error}`),
  });
  t.teardown(() => accepted.close());
  return accepted.tcpAddresses[0]!.port;
}

test("connections that another server accepted are served: HTTP/2, HTTP/1.1 and on a unix socket", async (t) => {
  const path = join(await temporaryFolder(t), "socket");
  const { wire } = await startWire(t, ok, { tcp: undefined });
  const port = await source(t, (socket, listener) => wire.accept(socket, listener), path);
  t.is((await request2(openHttp2(t, port), { ":path": "/" })).status, 200);

  const old = await openSocket(t, port);
  old.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  t.regex(await readAll(old), /^HTTP\/1\.1 200/);

  t.is((await stat(path)).mode & 0o777, 0o600);
  const session = connectHttp2("http://x", { createConnection: () => connect(path) });
  t.teardown(() => session.destroy());
  t.is((await request2(session, { ":path": "/" })).status, 200);
  t.is(wire.stats.openConnections, 2);
});

test("with TLS, connections of the port are spoken to in TLS and those of the unix socket are not", async (t) => {
  const [cert, key, ca] = await Promise.all(["server.pem", "server.key", "ca.pem"].map(pem));
  const path = join(await temporaryFolder(t), "socket");
  const { wire } = await startWire(t, ok, { tcp: undefined, tls: { cert: cert!, key: key! } });
  const port = await source(t, (socket, listener) => wire.accept(socket, listener), path);
  t.is((await request2(openHttp2(t, port, { ca: ca! }), { ":path": "/" })).status, 200);
  const session = connectHttp2("http://x", { createConnection: () => connect(path) });
  t.teardown(() => session.destroy());
  t.is((await request2(session, { ":path": "/" })).status, 200);
});

test("nothing is read of a connection until it is served", async (t) => {
  const given = Promise.withResolvers<Socket>();
  const port = await source(t, (socket) => given.resolve(socket));
  const client = await openSocket(t, port);
  client.write("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  const socket = await given.promise;
  t.is(socket.bytesRead, 0);
  const { wire } = await startWire(t, ok, { tcp: undefined });
  wire.accept(socket, "tcp");
  t.regex(await readAll(client), /^HTTP\/1\.1 200/);
});

test("an address in use is refused by name, and nothing stays open", async (t) => {
  const holder = createServer().listen(0, "127.0.0.1");
  t.teardown(() => holder.close());
  await once(holder, "listening");
  const { port } = holder.address() as { port: number };
  const taken = [...tcp, { host: "127.0.0.1", port }];
  const error = await t.throwsAsync(
    acceptSockets({ tcp: taken, unix: undefined, onSocket: () => {}, onError: () => {} }),
  );
  t.regex(error!.message, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}`));
});
