import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer as createTls, type TlsOptions } from "node:tls";
import { Code, createClient } from "@connectrpc/connect";
import test, { type ExecutionContext } from "ava";
import type { ChannelTls } from "../../../server/wire/client/channel-options.ts";
import { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import { WireChannel } from "../../../server/wire/client/wire-channel.ts";
import { createWireTransport } from "../../../server/wire/client/wire-transport.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { startWire } from "../start-wire.ts";
import { EchoService, echoHandler } from "./echo-service.ts";
import { openChannel } from "./start-peers.ts";

const certificates = new URL("../../clients/typescript/certificates/", import.meta.url);
const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));
const [cert, key, ca, clientCert, clientKey] = await Promise.all(
  ["server.pem", "server.key", "ca.pem", "client.pem", "client.key"].map(pem),
);
const serverTls = { cert: cert!, key: key! };

/** A channel to a port under the name that the certificate has. */
function secure(t: ExecutionContext, port: number, tls: ChannelTls): WireChannel {
  const channel = new WireChannel({
    target: { host: "127.0.0.1", port },
    tls: { servername: "localhost", ...tls },
    authority: `localhost:${port}`,
  });
  t.teardown(() => channel.destroy());
  return channel;
}

async function echo(channel: WireChannel, text: string): Promise<string> {
  const client = createClient(EchoService, createWireTransport({ channel, protocol: "grpc" }));
  return (await client.unary({ text, data: Buffer.alloc(200_000) })).text;
}

async function fails(t: ExecutionContext, channel: WireChannel, message: RegExp): Promise<void> {
  const error = await t.throwsAsync(channel.callUnary("/a/B", Buffer.alloc(1)), {
    instanceOf: WireCallError,
    message,
  });
  t.is(error.code, Code.Unavailable);
}

/** A TLS server that says nothing of its own. */
async function startTls(t: ExecutionContext, options: TlsOptions): Promise<number> {
  const server = createTls({ ...serverTls, ...options }, (socket) => {
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test("TLS with an authority that is given", async (t) => {
  const { port } = await startWire(t, echoHandler({}), { tls: serverTls });
  const channel = secure(t, port, { ca: ca! });
  t.is(channel.scheme, "https");
  t.is(await echo(channel, "safe"), "safe");
});

test("mTLS: with a certificate calls go through, without one they do not", async (t) => {
  const { port } = await startWire(t, echoHandler({}), { tls: { ...serverTls, clientCa: ca! } });
  const known = secure(t, port, { ca: ca!, cert: clientCert!, key: clientKey! });
  t.is(await echo(known, "me"), "me");
  await fails(
    t,
    secure(t, port, { ca: ca! }),
    /cannot reach 127.0.0.1:\d+: .*(certificate|SETTINGS)/i,
  );
});

test("a certificate of an unknown authority is refused, with what to do", async (t) => {
  const { port } = await startWire(t, echoHandler({}), { tls: serverTls });
  await fails(t, secure(t, port, {}), /authority that is not trusted: give it as tls\.ca/);
});

test("a certificate for another name is refused, with what to do", async (t) => {
  const { port } = await startWire(t, echoHandler({}), { tls: serverTls });
  const other = secure(t, port, { ca: ca!, servername: "other.example" });
  await fails(t, other, /for another name: set tls\.servername/);
});

for (const [name, options] of [
  ["another protocol", { ALPNProtocols: ["http/1.1"] }],
  ["none", {}],
] as const) {
  test(`a TLS server that offers ${name} by ALPN is refused, with what to do`, async (t) => {
    const port = await startTls(t, { ...options });
    await fails(t, secure(t, port, { ca: ca! }), /does not offer HTTP\/2 \(ALPN "h2"\)/);
  });
}

test("TLS to a port without TLS says so", async (t) => {
  const { port } = await startWire(t, echoHandler({}));
  await fails(t, secure(t, port, { ca: ca! }), /cannot reach 127.0.0.1:\d+/);
});

test("a unix socket", async (t) => {
  const path = join(await temporaryFolder(t), "s");
  await startWire(t, echoHandler({}), { unix: { path } });
  t.is(await echo(openChannel(t, path), "near"), "near");
  const nobody = openChannel(t, `${path}-not`);
  await fails(t, nobody, /cannot reach unix:.*-not: ENOENT, .*there is no such socket/);
});
