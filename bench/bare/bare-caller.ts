import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Caller, LoadResult } from "../callers/caller.ts";
import type { BareCall, BenchCall } from "../cases/bench-case.ts";
import { headerLine } from "./bare-call-header.ts";

/** Time for one call outside a load. */
const callTimeoutMs = 10_000;
/** Time beyond the measurement that a load may take. */
const graceMs = 20_000;

/**
 * Calls the peer "bare": contents on a socket and nothing else.
 * @throws Error if the call has no bare form
 */
export function createBareCaller({ bare: call, path }: BenchCall, folder: string): Caller {
  if (!call) throw new Error(`${path} has no contents that could be sent bare`);
  const headerFile = join(folder, "header.json");
  const contentsFile = join(folder, "contents.bin");
  writeFileSync(headerFile, headerLine(call));
  writeFileSync(contentsFile, call.contents);
  return {
    isReady: canConnect,
    version: async () => process.version,
    async checkedAnswer(port) {
      call.check(await callOnce(port, call));
      return call.answerBytes;
    },
    async run({ port, inFlight, seconds, callsPerSecond, core, signal }) {
      const child = spawn(
        "taskset",
        [
          ...["-c", `${core}`, process.execPath],
          fileURLToPath(new URL("bare-load.ts", import.meta.url)),
          ...["--port", `${port}`, "--header", headerFile, "--contents", contentsFile],
          ...["--answer-bytes", `${call.answerBytes}`, "--in-flight", `${inFlight}`],
          ...["--seconds", `${seconds}`],
          ...(callsPerSecond === undefined ? [] : ["--rate", `${callsPerSecond}`]),
        ],
        {
          stdio: ["ignore", "pipe", "pipe"],
          signal: AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000 + graceMs)]),
        },
      );
      const [output, problems, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "close"),
      ]);
      if (code !== 0) throw new Error(`the load ended with ${code}:\n${problems.trimEnd()}`);
      return JSON.parse(output) as LoadResult;
    },
  };
}

async function canConnect(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    // Nothing listens yet.
    return false;
  } finally {
    socket.destroy();
  }
}

async function callOnce(port: number, call: BareCall): Promise<Uint8Array> {
  const socket = connect(port, "127.0.0.1");
  socket.setTimeout(callTimeoutMs, () => socket.destroy(new Error("the server gave no answer")));
  try {
    socket.write(headerLine(call));
    socket.write(call.contents);
    const answer: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of socket) {
      answer.push(chunk as Buffer);
      bytes += (chunk as Buffer).byteLength;
      if (bytes >= call.answerBytes) return Buffer.concat(answer);
    }
    throw new Error(`the server closed the connection after ${bytes} bytes`);
  } finally {
    socket.destroy();
  }
}
