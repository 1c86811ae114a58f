import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { type ValueInfoProto, ValueInfoProtoSchema } from "../../../../gen/onnx/onnx_pb.ts";

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
export function readModelOutline(bytes: Uint8Array): ModelOutline {
  const inputs: ValueInfoProto[] = [];
  const outputs: ValueInfoProto[] = [];
  const initializers = new Set<string>();
  const operators = new Set<string>();
  let irVersion = 0;
  let hasGraph = false;
  let external = false;
  const readInitializer = (tensor: Uint8Array): void => {
    let name = "";
    forEachField(tensor, (field, wireType, reader) => {
      if (field === tensorName && wireType === WireType.LengthDelimited) name = reader.string();
      else {
        external ||= field === tensorExternalData;
        reader.skip(wireType, field);
      }
    });
    initializers.add(name);
  };
  let hasFunctions = false;
  forEachField(bytes, (field, wireType, reader) => {
    if (field === modelIrVersion && wireType === WireType.Varint) {
      irVersion = Number(reader.int64());
    } else if (field === modelGraph && wireType === WireType.LengthDelimited) {
      hasGraph = true;
      forEachField(reader.bytes(), (graphField, graphWireType, graphReader) => {
        if (graphWireType !== WireType.LengthDelimited)
          return graphReader.skip(graphWireType, graphField);
        switch (graphField) {
          case graphNode:
            operators.add(readString(graphReader.bytes(), nodeOperator));
            return;
          case graphInput:
            inputs.push(fromBinary(ValueInfoProtoSchema, graphReader.bytes()));
            return;
          case graphOutput:
            outputs.push(fromBinary(ValueInfoProtoSchema, graphReader.bytes()));
            return;
          case graphInitializer:
            readInitializer(graphReader.bytes());
            return;
          default:
            graphReader.skip(graphWireType, graphField);
        }
      });
    } else {
      if (field === modelFunctions) hasFunctions = true;
      reader.skip(wireType, field);
    }
  });
  if (!hasGraph) throw new Error("the file holds no ONNX graph");
  return { irVersion, inputs, outputs, initializers, operators, external, hasFunctions };
}

/** The last value of a string field of a message. */
function readString(bytes: Uint8Array, wanted: number): string {
  let value = "";
  forEachField(bytes, (field, wireType, reader) => {
    if (field === wanted && wireType === WireType.LengthDelimited) value = reader.string();
    else reader.skip(wireType, field);
  });
  return value;
}

function forEachField(
  bytes: Uint8Array,
  visit: (field: number, wireType: WireType, reader: BinaryReader) => void,
): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    visit(field, wireType, reader);
  }
}
