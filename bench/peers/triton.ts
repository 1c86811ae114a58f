import {
  copyFileSync,
  globSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { delimiter, dirname, join } from "node:path";
import type { Peer } from "./peer.ts";
import { missingEnvironment, pythonFolder, pythonOf } from "./python-environment.ts";

/** Models whose rows do not depend on each other; the identity model would only copy to join them. */
const batched: ReadonlySet<string> = new Set(["iris", "forest", "digits", "diabetes"]);

/**
 * Triton, as the package nvidia-pytriton brings it: the C++ front end with dynamic batching, and the
 * Python backend over ONNX Runtime (Triton's own ONNX backend is not in any package).
 */
export const triton: Peer = {
  name: "triton",
  title: "Triton, Python backend",
  missing: (tools) => missingEnvironment(tools, "pytriton"),
  launch({ models, port, sparePorts, folder, tools }) {
    const python = pythonOf(tools, "pytriton");
    const [library, ...others] = globSync(join(tools, "pytriton/lib/python3.*/site-packages"));
    if (library === undefined || others.length > 0) {
      throw new Error(`expected one Python version in ${tools}/pytriton/lib`);
    }
    const triton = join(library, "pytriton", "tritonserver");
    const backends = join(folder, "backends");
    linkPythonBackend(triton, pythonVersion(library), join(backends, "python"));
    const repository = join(folder, "models");
    for (const model of readdirSync(models, { withFileTypes: true })) {
      if (!model.isDirectory()) continue;
      writeModel(join(repository, model.name), join(models, model.name, "1", "model.onnx"));
    }
    return {
      command: join(triton, "bin", "tritonserver"),
      args: [
        `--model-repository=${repository}`,
        `--backend-directory=${backends}`,
        `--grpc-port=${port}`,
        "--grpc-address=127.0.0.1",
        "--allow-http=false",
        "--metrics-address=127.0.0.1",
        `--metrics-port=${sparePorts[0]}`,
        "--allow-gpu-metrics=false",
        "--log-info=false",
        `--backend-config=python,shm-region-prefix-name=tensorwire-bench-${port}`,
      ],
      env: {
        LD_LIBRARY_PATH: join(library, "nvidia_pytriton.libs"),
        // The model stub finds its packages through the first Python on the PATH.
        PATH: [dirname(python), process.env.PATH].join(delimiter),
      },
    };
  },
};

/** Version of the folder `python3.N/site-packages`, such as "3.11". */
function pythonVersion(library: string): string {
  return dirname(library).replace(/.*python/, "");
}

/** The package keeps a stub for each Python version apart from the backend that wants one in its folder. */
function linkPythonBackend(triton: string, version: string, target: string): void {
  mkdirSync(target, { recursive: true });
  for (const name of ["libtriton_python.so", "triton_python_backend_utils.py"]) {
    symlinkSync(join(triton, "backends", "python", name), join(target, name));
  }
  const stub = "triton_python_backend_stub";
  symlinkSync(join(triton, "python_backend_stubs", version, stub), join(target, stub));
}

function writeModel(folder: string, onnxFile: string): void {
  const name = folder.slice(dirname(folder).length + 1);
  mkdirSync(join(folder, "1"), { recursive: true });
  copyFileSync(join(pythonFolder, "triton_model.py"), join(folder, "1", "model.py"));
  // The stub looks for modules beside the model, and not on PYTHONPATH.
  copyFileSync(join(pythonFolder, "onnx_session.py"), join(folder, "1", "onnx_session.py"));
  const lines = [
    `name: "${name}"`,
    'backend: "python"',
    `max_batch_size: ${batched.has(name) ? 64 : 0}`,
    ...(batched.has(name) ? ["dynamic_batching {}"] : []),
    "instance_group [{ kind: KIND_CPU count: 1 }]",
    `parameters { key: "onnx_file" value { string_value: "${onnxFile}" } }`,
  ];
  writeFileSync(join(folder, "config.pbtxt"), `${lines.join("\n")}\n`);
}
