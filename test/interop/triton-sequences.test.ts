import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import {
  accumulatorConfig,
  accumulatorModel,
  collectorModel,
  lstmModel,
} from "../support/sequence-models.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, findTool, runTool } from "../support/tools.ts";

const script = fileURLToPath(new URL("python/triton_sequences.py", import.meta.url));
const triton = findPython("triton");
const analyzer = findTool("perf_analyzer");

/** Longer than any pause of a loaded machine. */
const longIdle = "max_sequence_idle_microseconds: 600000000";

for (const execution of ["inline", "worker"]) {
  (triton ? test : test.skip)(
    `sequences of tritonclient, interleaved, over streams, gRPC and HTTP, ${execution}`,
    async (t) => {
      const folder = await temporaryFolder(t, {
        "direct/1/model.onnx": accumulatorModel(),
        "direct/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
        "oldest/1/model.onnx": accumulatorModel(),
        "oldest/config.pbtxt": accumulatorConfig(
          4,
          `oldest { max_candidate_sequences: 4 } ${longIdle}`,
        ),
        "texts/1/model.onnx": accumulatorModel("batched", "BYTES"),
        "texts/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`, "STRING"),
        "recurrent/1/model.onnx": lstmModel(),
        "recurrent/config.pbtxt": `
max_batch_size: 8
sequence_batching {
  oldest { max_candidate_sequences: 6 }
  ${longIdle}
  state [
    { input_name: "h" output_name: "h_next" data_type: TYPE_FP32 dims: [ 4 ] },
    { input_name: "c" output_name: "c_next" data_type: TYPE_FP32 dims: [ 4 ]
      initial_state: { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true name: "c" } }
  ]
}
`,
        "all/1/model.onnx": collectorModel(),
        "all/config.pbtxt": `
max_batch_size: 4
sequence_batching {
  oldest { }
  ${longIdle}
  state [ {
    input_name: "past" output_name: "kept" data_type: TYPE_FP32 dims: [ -1 ]
    initial_state: { data_type: TYPE_FP32 dims: [ 2 ] data_file: "first" name: "first values" }
  } ]
}
`,
        "all/initial_state/first": new Uint8Array(Float32Array.of(0.5, 0.25).buffer),
      });
      const server = await startServer(t, [folder, "--execution", execution]);
      const { code, output } = await runTool(triton!, [
        script,
        server.address,
        `${folder}/recurrent/1/model.onnx`,
      ]);
      t.is(code, 0, output);
      t.regex(output, /\d+ checks/);
    },
  );
}

/** Calls of a model that succeeded and that failed, and its sequences that ended by their last call. */
async function countsOf(url: string, model: string): Promise<readonly number[]> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sum = (pattern: RegExp): number => {
    const values = [...text.matchAll(pattern)].map(([, value]) => Number(value));
    return values.reduce((total, value) => total + value, 0);
  };
  return [
    sum(new RegExp(`^nv_inference_request_success{model="${model}".*} (.*)$`, "gm")),
    sum(new RegExp(`^nv_inference_request_failure{model="${model}".*} (.*)$`, "gm")),
    sum(new RegExp(`^tensorwire_sequences_ended_total{model="${model}".*"end"} (.*)$`, "gm")),
  ];
}

for (const args of ["-i grpc --streaming --async", "-i grpc", "-i http"]) {
  (analyzer ? test : test.skip)(
    `perf_analyzer sends more sequences than there are slots: ${args}`,
    async (t) => {
      const folder = await temporaryFolder(t, {
        "direct/1/model.onnx": accumulatorModel(),
        "direct/config.pbtxt": accumulatorConfig(4, `direct { } ${longIdle}`),
        "oldest/1/model.onnx": accumulatorModel(),
        "oldest/config.pbtxt": accumulatorConfig(4, `oldest { } ${longIdle}`),
      });
      const server = await startServer(t, [folder]);
      for (const model of ["direct", "oldest"]) {
        const { code, output } = await runTool(analyzer!, [
          ...["-u", server.address, "-m", model, ...args.split(" ")],
          ...["--sequence-length", "10", "--concurrency-range", "6"],
          ...["--measurement-mode", "count_windows", "--measurement-request-count", "100"],
          // Stable is what is within so many percent: a loaded machine gets there too.
          ...["--stability-percentage", "100000", "--max-trials", "3"],
        ]);
        t.is(code, 0, output);
        const [, sequences] = /Sequence count: (\d+)/.exec(output)!;
        const [calls, failures, ended] = await countsOf(server.url, model);
        t.is(failures, 0, output);
        t.true(calls! >= 100 && ended! >= Number(sequences), output);
      }
    },
  );
}
