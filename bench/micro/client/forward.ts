import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runH2load } from "../../callers/h2load.ts";
import { freePorts } from "../../free-ports.ts";

// What the frame forwarder costs: small unary calls of gRPC from h2load straight to our own server, and
// through forwardStream to the same server. By default the forwarder has core 0 to itself, and the server
// and h2load share core 1.
//
//     node bench/micro/client/forward.ts [seconds] [message bytes] [cores: server,forwarder,client]

const seconds = Number(process.argv[2] ?? 3);
const messageBytes = Number(process.argv[3] ?? 64);
const cores = (process.argv[4] ?? "1,0,1").split(",").map(Number);
if (!(seconds > 0) || !Number.isInteger(messageBytes) || cores.length !== 3) {
  throw new Error(
    `got ${process.argv.slice(2).join(" ")}, expected seconds, bytes of a message, and three cores`,
  );
}

const folder = mkdtempSync(join(tmpdir(), "tensorwire-bench-"));
const bodyFile = join(folder, "body");
const prefix = Buffer.alloc(5);
prefix.writeUInt32BE(messageBytes, 1);
writeFileSync(bodyFile, Buffer.concat([prefix, Buffer.alloc(messageBytes, 7)]));

const children: ChildProcess[] = [];
try {
  const [serverPort, forwarderPort] = (await freePorts(2)) as [number, number];
  await start(cores[0]!, "server", `${serverPort}`);
  await start(cores[1]!, "forwarder", `${forwarderPort}`, `${serverPort}`);
  for (const inFlight of [1, 64]) {
    const direct = await measure(serverPort, inFlight);
    const forwarded = await measure(forwarderPort, inFlight);
    console.log(
      `${inFlight} in flight, ${messageBytes} bytes: ` +
        `direct ${Math.round(direct.callsPerSecond)}/s (p50 ${direct.p50Micros} us), ` +
        `forwarded ${Math.round(forwarded.callsPerSecond)}/s (p50 ${forwarded.p50Micros} us, ` +
        `p99 ${forwarded.p99Micros} us)`,
    );
  }
} finally {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}

async function start(core: number, ...role: string[]): Promise<void> {
  const script = fileURLToPath(new URL("forward-role.ts", import.meta.url));
  const child = spawn("taskset", ["-c", `${core}`, process.execPath, script, ...role], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  await Promise.race([
    once(child.stdout, "data"),
    once(child, "exit").then(([code]) => {
      throw new Error(`the ${role[0]} ended with ${code} before it was ready`);
    }),
  ]);
}

async function measure(port: number, inFlight: number) {
  const load = {
    port,
    path: "/bench.Service/Method",
    bodyFile,
    inFlight,
    core: cores[2]!,
    timesFile: join(folder, "times"),
    signal: new AbortController().signal,
  };
  await runH2load({ ...load, seconds: Math.min(1, seconds) });
  return runH2load({ ...load, seconds });
}
