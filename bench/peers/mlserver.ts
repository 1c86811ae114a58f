import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Peer } from "./peer.ts";
import { missingEnvironment, pythonFolder, pythonOf } from "./python-environment.ts";

/** MLServer with a runtime over ONNX Runtime. */
export const mlserver: Peer = {
  name: "mlserver",
  title: "MLServer",
  missing: (tools) => missingEnvironment(tools, "mlserver"),
  launch({ models, port, sparePorts, folder, tools }) {
    const settings = {
      host: "127.0.0.1",
      grpc_port: port,
      http_port: sparePorts[0],
      metrics_port: sparePorts[1],
      metrics_dir: folder,
      grpc_max_message_length: 64 * 1024 * 1024,
      debug: false,
      // Models run in the server's process: on one core a worker process only adds a hop.
      parallel_workers: 0,
    };
    writeFileSync(join(folder, "settings.json"), JSON.stringify(settings));
    for (const model of readdirSync(models, { withFileTypes: true })) {
      if (!model.isDirectory()) continue;
      mkdirSync(join(folder, model.name));
      const modelSettings = {
        name: model.name,
        implementation: "mlserver_runtime.OnnxModel",
        parameters: { uri: join(models, model.name, "1", "model.onnx") },
      };
      writeFileSync(join(folder, model.name, "model-settings.json"), JSON.stringify(modelSettings));
    }
    return {
      command: join(dirname(pythonOf(tools, "mlserver")), "mlserver"),
      args: ["start", folder],
      env: { PYTHONPATH: pythonFolder },
    };
  },
};
