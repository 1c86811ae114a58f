import { create } from "@bufbuild/protobuf";
import { ValueInfoProtoSchema } from "../../gen/onnx/onnx_pb.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { modelUnsupported } from "../errors/model-errors.ts";
import { largestFinite } from "./half-constants.ts";
import { encodeOnnxFile, readOnnxFile } from "./onnx-file.ts";
import { type Feeds, openInRuntime, type RuntimeModel } from "./runtime.ts";

/** What the runtime knows of the values of a graph, the outputs of its nodes among them. */
export interface ValueSurvey {
  /** Type of the elements in the runtime's words; `undefined` for what is no tensor. */
  readonly types: ReadonlyMap<string, string | undefined>;
  /** Largest finite magnitude seen of each 32-bit float. */
  readonly magnitudes: ReadonlyMap<string, number>;
}

/** Values fetched in a run: enough for few runs, and few enough for memory. */
const fetchedAtOnce = 64;

/**
 * Has the runtime infer the type of every value of the main graph, and runs it to see how large the
 * floats get.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` if the runtime cannot tell the types, `MODEL_EXECUTION_FAILED`
 */
export async function surveyValues(
  name: string,
  bytes: Uint8Array,
  samples: readonly Feeds[],
): Promise<ValueSurvey> {
  const file = readOnnxFile(name, bytes);
  const { graph } = file;
  const outputs = new Set(graph.output.map((output) => output.name));
  for (const node of graph.node) {
    for (const value of node.output) {
      if (value === "" || outputs.has(value)) continue;
      outputs.add(value);
      // An output without a type gets the one that the runtime infers.
      graph.output.push(create(ValueInfoProtoSchema, { name: value }));
    }
  }
  const model = await openSurveyed(name, encodeOnnxFile(file));
  try {
    const types = new Map(
      [...model.inputs, ...model.outputs].map((port) => [port.name, port.type]),
    );
    const floats = model.outputs.filter(({ type }) => type === "float32").map((port) => port.name);
    const magnitudes = new Map<string, number>();
    for (const feeds of samples) {
      for (let from = 0; from < floats.length; from += fetchedAtOnce) {
        const values = await model.run(feeds, floats.slice(from, from + fetchedAtOnce));
        for (const [value, tensor] of Object.entries(values)) {
          const largest = largestFinite(tensor.data as Float32Array);
          magnitudes.set(value, Math.max(largest, magnitudes.get(value) ?? 0));
        }
      }
      for (const [value, { type, data }] of Object.entries(feeds)) {
        if (type !== "float32") continue;
        const largest = largestFinite(data as Float32Array);
        magnitudes.set(value, Math.max(largest, magnitudes.get(value) ?? 0));
      }
    }
    return { types, magnitudes };
  } finally {
    await model.release();
  }
}

async function openSurveyed(name: string, bytes: Uint8Array): Promise<RuntimeModel> {
  try {
    return await openInRuntime(name, bytes, { level: "disabled" });
  } catch (error) {
    throw modelUnsupported(
      name,
      `--precision fp16 needs the type of every value in the model, and the runtime does not tell them: ${messageOf((error as Error).cause)}; expected a model of tensors without bfloat16, 8-bit and 4-bit floats`,
    );
  }
}
