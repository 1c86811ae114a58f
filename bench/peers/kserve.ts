import { join } from "node:path";
import type { Peer } from "./peer.ts";
import { missingEnvironment, pythonFolder, pythonOf } from "./python-environment.ts";

const maxMessageBytes = 64 * 1024 * 1024;

/** KServe's Python server with a model class over ONNX Runtime. */
export const kserve: Peer = {
  name: "kserve",
  title: "KServe python",
  missing: (tools) => missingEnvironment(tools, "kserve"),
  launch: ({ models, port, sparePorts, tools }) => ({
    command: pythonOf(tools, "kserve"),
    args: [
      join(pythonFolder, "kserve_server.py"),
      `--model_repository=${models}`,
      `--grpc_port=${port}`,
      `--http_port=${sparePorts[0]}`,
      `--grpc_max_send_message_length=${maxMessageBytes}`,
      `--grpc_max_receive_message_length=${maxMessageBytes}`,
    ],
    // By default it writes a line for each call.
    env: { KSERVE_LOGLEVEL: "WARNING" },
  }),
};
