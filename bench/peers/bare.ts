import { fileURLToPath } from "node:url";
import { createBareCaller } from "../bare/bare-caller.ts";
import type { Peer } from "./peer.ts";

/**
 * ONNX Runtime in one thread of Node, that reads contents from a socket and writes contents back: no HTTP,
 * no gRPC, no message, no checks. What a server can reach at most.
 */
export const bare: Peer = {
  name: "bare",
  title: "ONNX Runtime and a socket",
  missing: () => undefined,
  serves: ({ bare: call }) => call?.inputs.every(({ datatype }) => datatype === "FP32") ?? false,
  makeCaller: createBareCaller,
  launch: ({ models, port }) => ({
    command: process.execPath,
    args: [
      fileURLToPath(new URL("../bare/bare-server.ts", import.meta.url)),
      ...["--models", models, "--port", `${port}`],
    ],
  }),
};
