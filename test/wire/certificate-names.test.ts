import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request as httpsRequest } from "node:https";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test, { type ExecutionContext } from "ava";
import { parseAlternativeNames } from "../../server/wire/certificate-names.ts";
import { peerKey } from "../../server/wire/peer.ts";
import { openHttp2, request2, startWire, text } from "./start-wire.ts";

const certificates = new URL("../access/certificates/", import.meta.url);
const pem = (name: string): Buffer => readFileSync(new URL(name, certificates));
const ca = pem("ca.pem");
const serverTls = { cert: pem("server.pem"), key: pem("server.key") };

const workloadNames = [
  "spiffe://cluster.local/ns/shop/sa/web",
  "https://example.org/a, DNS:forged.example",
  "Gateway.Example",
  "CN=workload",
];

async function tellNames({ contextValues }: UniversalServerRequest) {
  return { status: 200, body: text(JSON.stringify(contextValues?.get(peerKey).certificateNames)) };
}

function clientTls(name: string) {
  return { ca, cert: pem(`${name}.pem`), key: pem(`${name}.key`) };
}

async function namesOverHttp2(t: ExecutionContext, port: number, name: string): Promise<unknown> {
  const session = openHttp2(t, port, clientTls(name));
  return JSON.parse((await request2(session, { ":path": "/" })).body.toString());
}

test("the names of a caller's certificate come with each request, over both versions of HTTP", async (t) => {
  const { port } = await startWire(t, tellNames, { tls: { ...serverTls, clientCa: ca } });
  t.deepEqual(await namesOverHttp2(t, port, "workload"), workloadNames);
  t.deepEqual(await namesOverHttp2(t, port, "operator"), ["CN=operator"]);
  const sent = httpsRequest({
    ...clientTls("workload"),
    ...{ host: "127.0.0.1", port, path: "/", servername: "localhost" },
  });
  sent.end();
  const [answer] = await once(sent, "response");
  t.deepEqual(JSON.parse(Buffer.concat(await answer.toArray()).toString()), workloadNames);
});

test("a resumed session has the names that the first one had", async (t) => {
  const { port } = await startWire(t, tellNames, { tls: { ...serverTls, clientCa: ca } });
  const ask = async (session?: Buffer): Promise<{ socket: TLSSocket; answer: string }> => {
    const options = { host: "127.0.0.1", port, servername: "localhost", ...clientTls("workload") };
    const socket = connectTls({ ...options, ...(session ? { session } : {}) });
    t.teardown(() => void socket.destroy());
    socket.write("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    let answer = "";
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString();
    });
    await once(socket, "end");
    return { socket, answer };
  };
  const tickets: Buffer[] = [];
  const first = connectTls({
    ...{ host: "127.0.0.1", port, servername: "localhost" },
    ...clientTls("workload"),
  });
  t.teardown(() => void first.destroy());
  first.on("session", (ticket: Buffer) => tickets.push(ticket));
  first.resume();
  await once(first, "session");
  const { socket, answer } = await ask(tickets[0]);
  t.true(socket.isSessionReused());
  t.true(answer.includes(JSON.stringify(workloadNames)));
});

test("without an authority for callers there are no names", async (t) => {
  const { port } = await startWire(
    t,
    async ({ contextValues }) => ({
      status: 200,
      body: text(String(contextValues?.get(peerKey).certificateNames)),
    }),
    { tls: serverTls },
  );
  const session = openHttp2(t, port, clientTls("workload"));
  t.is((await request2(session, { ":path": "/" })).body.toString(), "undefined");
});

test("alternative names are told apart, also those that try to look like others", (t) => {
  t.deepEqual(parseAlternativeNames(""), []);
  t.deepEqual(parseAlternativeNames("DNS:a.example, URI:spiffe://c/d, IP Address:127.0.0.1"), [
    { kind: "DNS", name: "a.example" },
    { kind: "URI", name: "spiffe://c/d" },
    { kind: "IP Address", name: "127.0.0.1" },
  ]);
  t.deepEqual(parseAlternativeNames('URI:"x\\u002c DNS:y", DNS:z'), [
    { kind: "URI", name: "x, DNS:y" },
    { kind: "DNS", name: "z" },
  ]);
  // What is not understood lends no name to anybody.
  t.deepEqual(parseAlternativeNames('DNS:a, URI:"x'), []);
  t.deepEqual(parseAlternativeNames("DNS:a, nonsense"), []);
});
