import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchCall } from "../cases/bench-case.ts";
import type { Caller } from "./caller.ts";
import { callUnary } from "./grpc-call.ts";
import { runH2load } from "./h2load.ts";
import { isServerReady, requireModel, serverVersion } from "./server-questions.ts";

/** Bytes before a message in gRPC: a flag and the length. */
const prefixBytes = 5;
/** Time for one call outside a measurement; a slow peer needs seconds for large messages. */
const callDeadlineMs = 60_000;

/** Calls in gRPC over cleartext HTTP/2: single ones with @grpc/grpc-js, loads with h2load. */
export function createGrpcCaller(call: BenchCall, folder: string): Caller {
  const bodyFile = join(folder, "request.bin");
  const timesFile = join(folder, "times.tsv");
  writeFileSync(bodyFile, framed(call.request));
  return {
    isReady: isServerReady,
    version: serverVersion,
    async checkedAnswer(port) {
      if (call.model !== undefined) await requireModel(port, call.model);
      const response = await callUnary(port, call.path, call.request, callDeadlineMs);
      call.check(response);
      return prefixBytes + response.byteLength;
    },
    run: (load) => runH2load({ ...load, path: call.path, bodyFile, timesFile }),
  };
}

/** A message as gRPC sends it: not compressed, with its length. */
function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(prefixBytes + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, prefixBytes);
  return frame;
}
