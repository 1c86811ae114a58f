import { fromBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { type ValueInfoProto, ValueInfoProtoSchema } from "../../../../gen/onnx/onnx_pb.ts";
import type { ByteSource } from "./byte-source.ts";
import { FieldCursor } from "./field-cursor.ts";

/** The declared interface of an ONNX model, read without building its nodes and weights. */
export interface ModelOutline {
  readonly irVersion: number;
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  /** Names of the initializers of the main graph. */
  readonly initializers: ReadonlySet<string>;
  /** Operators of the nodes of the main graph, such as `MatMul`. */
  readonly operators: ReadonlySet<string>;
  /** Whether an initializer of the main graph keeps its contents in another file. */
  readonly external: boolean;
  /** Whether the file defines operators of its own (functions), which are not looked into. */
  readonly hasFunctions: boolean;
}

// Field numbers of ModelProto, GraphProto, NodeProto and TensorProto (proto/onnx/onnx.proto).
const modelIrVersion = 1;
const modelGraph = 7;
const modelFunctions = 25;
const graphNode = 1;
const graphInitializer = 5;
const graphInput = 11;
const graphOutput = 12;
const nodeOperator = 4;
const tensorName = 8;
const tensorExternalData = 13;

/**
 * Reads the outline of a serialized ModelProto in one pass that skips attributes and weights.
 *
 * @throws Error if the bytes are not a ModelProto with a graph
 */
export function readModelOutline(source: ByteSource): ModelOutline {
  const inputs: ValueInfoProto[] = [];
  const outputs: ValueInfoProto[] = [];
  const initializers = new Set<string>();
  const operators = new Set<string>();
  let irVersion = 0;
  let hasGraph = false;
  let external = false;
  let hasFunctions = false;
  const readGraph = (graph: FieldCursor): void => {
    while (graph.next()) {
      if (graph.isPart(graphNode)) operators.add(lastText(graph.inside(), nodeOperator));
      else if (graph.isPart(graphInput)) {
        inputs.push(fromBinary(ValueInfoProtoSchema, graph.bytes()));
      } else if (graph.isPart(graphOutput)) {
        outputs.push(fromBinary(ValueInfoProtoSchema, graph.bytes()));
      } else if (graph.isPart(graphInitializer)) {
        const tensor = graph.inside();
        let name = "";
        while (tensor.next()) {
          if (tensor.isPart(tensorName)) name = tensor.text();
          else external ||= tensor.field === tensorExternalData;
        }
        initializers.add(name);
      }
    }
  };
  const model = new FieldCursor(source);
  while (model.next()) {
    if (model.field === modelIrVersion && model.wireType === WireType.Varint) {
      irVersion = model.number();
    } else if (model.isPart(modelGraph)) {
      hasGraph = true;
      readGraph(model.inside());
    } else if (model.field === modelFunctions) hasFunctions = true;
  }
  if (!hasGraph) throw new Error("the file holds no ONNX graph");
  return { irVersion, inputs, outputs, initializers, operators, external, hasFunctions };
}

/** The last value of a text field of a message. */
function lastText(message: FieldCursor, field: number): string {
  let text = "";
  while (message.next()) if (message.isPart(field)) text = message.text();
  return text;
}
