import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { fileURLToPath } from "node:url";
import { freePorts } from "../free-ports.ts";

// Memory that an idle HTTP/2 connection takes of the server: resident memory before and after a
// thousand of them, each of which has made one call.
//
//     node bench/wire/idle-connections.ts [connections]

const connections = Number(process.argv[2] ?? 1000);
if (!Number.isInteger(connections) || connections < 1 || connections > 4000) {
  throw new Error(`got ${process.argv[2]} connections, expected 1 to 4000`);
}

const [port] = await freePorts(1);
const server = spawn(
  process.execPath,
  ["--expose-gc", fileURLToPath(new URL("idle-connections-server.ts", import.meta.url)), `${port}`],
  { stdio: ["pipe", "pipe", "inherit"] },
);
const sessions: ClientHttp2Session[] = [];
try {
  await line();
  // What the first connections leave behind is of the server, not theirs.
  await open(50);
  const before = await settledRss();
  await open(connections);
  const after = await settledRss();
  const each = (after - before) / connections;
  console.log(
    `${connections} idle connections: ${(each / 1024).toFixed(1)} KiB each ` +
      `(server ${mib(before)} MiB before, ${mib(after)} MiB after)`,
  );
} finally {
  for (const session of sessions) session.destroy();
  server.kill();
}

async function open(count: number): Promise<void> {
  for (let opened = 0; opened < count; opened++) {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on("error", () => {});
    sessions.push(session);
    const request = session.request({
      ":path": "/bench.Service/Method",
      ":method": "POST",
      "content-type": "application/grpc",
      te: "trailers",
    });
    request.end(Buffer.alloc(5));
    request.resume();
    await once(request, "close");
  }
}

/** Resident memory after a collection of garbage, in bytes. */
async function settledRss(): Promise<number> {
  server.stdin.write("gc\n");
  await line();
  const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024;
}

async function line(): Promise<void> {
  await once(server.stdout, "data");
}

function mib(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
