import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  TensorProto_DataLocation,
} from "../../gen/onnx/onnx_pb.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { modelLoadFailed, modelUnsupported } from "../errors/model-errors.ts";
import { subgraphsOf } from "./graph-uses.ts";

/** Protobuf messages end at 2 GiB; models beyond it keep their weights in other files. */
const maxModelBytes = 2 ** 31 - 1;

/** First IR version whose initializers need not be listed as inputs. */
const initializersApart = 4n;

/** A model whose graph can be changed. */
export interface OnnxFile {
  /** Name for messages. */
  readonly name: string;
  readonly proto: ModelProto;
  readonly graph: GraphProto;
  /** Version of the standard operators. */
  readonly opset: number;
}

/**
 * Decodes a model to be changed. Weights are views on `bytes`. A model of IR version 3 or earlier
 * becomes one of version 4, whose weights are no inputs.
 *
 * @param name - of the model, for messages
 * @throws TensorwireError `MODEL_LOAD_FAILED` if the bytes are no ONNX model, `MODEL_UNSUPPORTED` if
 * weights are in other files
 */
export function readOnnxFile(name: string, bytes: Uint8Array): OnnxFile {
  const proto = decode(name, bytes);
  const graph = proto.graph;
  if (!graph || (graph.node.length === 0 && graph.output.length === 0))
    throw modelLoadFailed(
      name,
      "the file holds no ONNX graph; expected a file made by an exporter",
    );
  refuseExternalData(name, graph);
  if (proto.irVersion < initializersApart) {
    const weights = new Set(graph.initializer.map((tensor) => tensor.name));
    graph.input = graph.input.filter((input) => !weights.has(input.name));
    proto.irVersion = initializersApart;
  }
  const standard = proto.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx");
  return { name, proto, graph, opset: Number(standard?.version ?? 1n) };
}

/**
 * Encodes a changed model.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` if it takes 2 GiB or more
 */
export function encodeOnnxFile({ name, proto }: OnnxFile): Uint8Array {
  const bytes = toBinary(ModelProtoSchema, proto);
  if (bytes.byteLength > maxModelBytes) {
    throw modelUnsupported(
      name,
      `the optimized model takes ${bytes.byteLength} bytes, expected less than ${maxModelBytes}, which is all that one ONNX file holds`,
    );
  }
  return bytes;
}

function decode(name: string, bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (error) {
    throw modelLoadFailed(
      name,
      `the file is no ONNX model (${messageOf(error)}); expected a file made by an exporter`,
      error,
    );
  }
}

function refuseExternalData(name: string, graph: GraphProto): void {
  const attributes = graph.node.flatMap(({ attribute }) => attribute.flatMap(({ t }) => t ?? []));
  for (const tensor of [...graph.initializer, ...attributes]) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const file = tensor.externalData.find(({ key }) => key === "location")?.value ?? "another file";
    throw modelUnsupported(
      name,
      `weight "${tensor.name}" is kept in ${file}; optimized are models with all weights inside, so export it without external data`,
    );
  }
  for (const node of graph.node)
    for (const subgraph of subgraphsOf(node)) refuseExternalData(name, subgraph);
}
