import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  type GraphProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../../../gen/onnx/onnx_pb.ts";
import { modelUnsupported } from "../../../errors/model-errors.ts";
import type { Datatype } from "../../../tensor/datatype.ts";
import type { DeclaredPort } from "../engine.ts";
import type { ByteSource } from "./byte-source.ts";
import { declaredTensor, typeText } from "./declared-type.ts";
import { type ModelOutline, readModelOutline } from "./model-outline.ts";

/** An input or output of a model, and how the session knows it. */
export interface GraphPort extends DeclaredPort {
  /** Name in the session's graph; unlike `name` where a cast stands between. */
  readonly sessionName: string;
  /** Datatype in the session: FP32 for BF16, which the session's JavaScript API has no type for. */
  readonly sessionDatatype: Datatype;
}

/** What a session takes and gives, and the model bytes where they had to be adapted for it. */
export interface GraphPlan {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** False if the values of an input, and not its size alone, may decide how long a run takes. */
  readonly timeFollowsSize: boolean;
  /** False if equal inputs may give different outputs: chance, or a part of the graph that was not looked into. */
  readonly isDeterministic: boolean;
  /** The adapted model; `undefined` if the session can use the file as it is. */
  readonly adapted: Uint8Array | undefined;
  /** Whether weights are in files beside the model. */
  readonly external: boolean;
  /** Names of inputs whose default must be taken from `defaults` by running the graph without it. */
  readonly defaults: ReadonlyMap<string, Uint8Array>;
}

/** Operators that repeat work, or make tensors of a size, as the values of an input say. */
export const valueDependent = [
  "ConstantOfShape",
  "Expand",
  "If",
  "Loop",
  "OneHot",
  "Pad",
  "Range",
  "Resize",
  "Scan",
  "SequenceMap",
  "Tile",
  "Upsample",
];

/** Operators that draw random numbers, and those with a graph within, which may. */
const mayBeRandom = [
  "Bernoulli",
  "Dropout",
  "If",
  "Loop",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
  "Scan",
  "SequenceMap",
];

/** Opset domain of the classifiers and of ZipMap. */
const mlDomain = "ai.onnx.ml";

/**
 * Plans how a model is served through onnxruntime-node, which takes and gives dense tensors of the
 * protocol's datatypes except BF16, and needs every input:
 *
 * - BF16 inputs and outputs get a Cast from and to FP32, which is exact in both directions;
 * - a `seq(map(...))` output made by ZipMap becomes the tensor `[rows, classes]` that ZipMap was
 *   given, the map's keys become its labels;
 * - an input with an initializer (IR version 4 and later: a default) becomes optional.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` that names the input or output that cannot be served
 * @throws Error if the bytes are not an ONNX model
 */
export function planGraph(model: string, source: ByteSource): GraphPlan {
  const outline = readModelOutline(source);
  // Before IR version 4 every initializer was listed as an input too, and none was meant as one.
  const inputs = outline.inputs.filter(
    (input) => outline.irVersion >= 4 || !outline.initializers.has(input.name),
  );
  const needsAdaptation =
    inputs.some((input) => outline.initializers.has(input.name) || isBf16(input)) ||
    outline.outputs.some((output) => isBf16(output) || isSequenceOfMaps(output));
  if (!needsAdaptation) {
    return {
      inputs: inputs.map((input) => plainPort(model, "input", input)),
      outputs: outline.outputs.map((output) => plainPort(model, "output", output)),
      timeFollowsSize: timeFollowsSize(outline),
      isDeterministic: isDeterministic(outline),
      adapted: undefined,
      external: outline.external,
      defaults: new Map(),
    };
  }
  return adapt(model, source.view(0, source.size), inputs, outline);
}

function adapt(
  model: string,
  bytes: Uint8Array,
  inputs: readonly ValueInfoProto[],
  outline: ModelOutline,
): GraphPlan {
  const proto = fromBinary(ModelProtoSchema, bytes);
  const graph = proto.graph;
  if (!graph) throw new Error("the file holds no ONNX graph");
  if (
    graph.initializer.some((tensor) => tensor.dataLocation === TensorProto_DataLocation.EXTERNAL)
  ) {
    throw modelUnsupported(
      model,
      "its inputs or outputs need a change of the graph (BF16, ZipMap or an input with a default), and it keeps weights in external files; export it with the weights inside",
    );
  }
  const defaults = new Map<string, Uint8Array>();
  const inputPorts = inputs.map((input) => {
    const port = isBf16(input)
      ? castInput(graph, plainPort(model, "input", input))
      : plainPort(model, "input", input);
    if (!outline.initializers.has(input.name)) return port;
    if (port.sessionDatatype !== port.datatype) {
      throw modelUnsupported(
        model,
        `input "${input.name}" is BF16 and has a default; remove either`,
      );
    }
    const at = graph.initializer.findIndex((tensor) => tensor.name === input.name);
    const [initializer] = graph.initializer.splice(at, 1);
    if (initializer) defaults.set(input.name, defaultGraph(proto, input, initializer));
    return { ...port, optional: true };
  });
  const outputPorts = outline.outputs.map((output) => {
    if (isSequenceOfMaps(output)) return unzipMap(model, graph, output);
    const port = plainPort(model, "output", output);
    return isBf16(output) ? castOutput(graph, port) : port;
  });
  return {
    inputs: inputPorts,
    outputs: outputPorts,
    timeFollowsSize: timeFollowsSize(outline),
    isDeterministic: isDeterministic(outline),
    adapted: toBinary(ModelProtoSchema, proto),
    external: false,
    defaults,
  };
}

function timeFollowsSize({ operators }: ModelOutline): boolean {
  return !valueDependent.some((operator) => operators.has(operator));
}

function isDeterministic({ operators, hasFunctions }: ModelOutline): boolean {
  return !hasFunctions && !mayBeRandom.some((operator) => operators.has(operator));
}

function plainPort(model: string, kind: "input" | "output", value: ValueInfoProto): GraphPort {
  const declared = declaredTensor(value);
  if (!declared) {
    throw modelUnsupported(
      model,
      `${kind} "${value.name}" is ${typeText(value.type)}; served are dense tensors of BOOL, UINT8-64, INT8-64, FP16, FP32, FP64, BF16 and strings, and what ZipMap makes`,
    );
  }
  return {
    name: value.name,
    datatype: declared.datatype,
    shape: declared.shape,
    sessionName: value.name,
    sessionDatatype: declared.datatype,
    optional: false,
    labels: [],
  };
}

/** The graph takes FP32 under a new name and casts it to what the nodes know. */
function castInput(graph: GraphProto, port: GraphPort): GraphPort {
  const sessionName = `${port.name}__as_fp32`;
  const value = graph.input.find((input) => input.name === port.name);
  if (value) declareFp32(value, sessionName);
  graph.node.unshift(castNode(port.name, sessionName, port.name, TensorProto_DataType.BFLOAT16));
  return { ...port, sessionName, sessionDatatype: "FP32" };
}

/** The graph gives FP32 under a new name, cast from what the nodes made. */
function castOutput(graph: GraphProto, port: GraphPort): GraphPort {
  const sessionName = `${port.name}__as_fp32`;
  const value = graph.output.find((output) => output.name === port.name);
  if (value) declareFp32(value, sessionName);
  graph.node.push(castNode(port.name, port.name, sessionName, TensorProto_DataType.FLOAT));
  return { ...port, sessionName, sessionDatatype: "FP32" };
}

function declareFp32(value: ValueInfoProto, name: string): void {
  value.name = name;
  if (value.type?.value.case === "tensorType")
    value.type.value.value.elemType = TensorProto_DataType.FLOAT;
}

function castNode(name: string, from: string, to: string, elementType: number): NodeProto {
  return create(NodeProtoSchema, {
    name: `${name}__cast`,
    opType: "Cast",
    input: [from],
    output: [to],
    attribute: [{ name: "to", type: AttributeProto_AttributeType.INT, i: BigInt(elementType) }],
  });
}

/** Puts an Identity in the place of the ZipMap that makes `output`. */
function unzipMap(model: string, graph: GraphProto, output: ValueInfoProto): GraphPort {
  const node = graph.node.find((candidate) => candidate.output.includes(output.name));
  if (node?.opType !== "ZipMap" || node.domain !== mlDomain) {
    throw modelUnsupported(
      model,
      `output "${output.name}" is ${typeText(output.type)} made by ${node?.opType ?? "no node"}; of these only what ZipMap makes can be served as a tensor`,
    );
  }
  const labels = zipMapLabels(node);
  node.opType = "Identity";
  node.domain = "";
  node.attribute = [];
  const value = graph.output.find((candidate) => candidate.name === output.name);
  const columns = labels.length > 0 ? BigInt(labels.length) : undefined;
  if (value) {
    value.type = create(ValueInfoProtoSchema, {
      type: {
        value: {
          case: "tensorType",
          value: {
            elemType: TensorProto_DataType.FLOAT,
            shape: {
              dim: [
                { value: { case: "dimParam", value: `${output.name}__rows` } },
                columns === undefined
                  ? { value: { case: "dimParam", value: `${output.name}__classes` } }
                  : { value: { case: "dimValue", value: columns } },
              ],
            },
          },
        },
      },
    }).type;
  }
  return {
    name: output.name,
    datatype: "FP32",
    shape: [-1, columns === undefined ? -1 : labels.length],
    sessionName: output.name,
    sessionDatatype: "FP32",
    optional: false,
    labels,
  };
}

function zipMapLabels(node: NodeProto): string[] {
  for (const attribute of node.attribute) {
    if (attribute.name === "classlabels_int64s") return attribute.ints.map(String);
    if (attribute.name === "classlabels_strings") {
      const decoder = new TextDecoder();
      return attribute.strings.map((label) => decoder.decode(label));
    }
  }
  return [];
}

/** A model without inputs that gives the default of an optional input. */
function defaultGraph(
  proto: ReturnType<typeof fromBinary<typeof ModelProtoSchema>>,
  input: ValueInfoProto,
  initializer: GraphProto["initializer"][number],
): Uint8Array {
  const name = `${input.name}__default`;
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: proto.irVersion,
      opsetImport: proto.opsetImport,
      graph: {
        name,
        initializer: [initializer],
        node: [{ opType: "Identity", name, input: [input.name], output: [name] }],
        output: [{ name, ...(input.type ? { type: input.type } : {}) }],
      },
    }),
  );
}

function isBf16(value: ValueInfoProto): boolean {
  const type = value.type?.value;
  return type?.case === "tensorType" && type.value.elemType === TensorProto_DataType.BFLOAT16;
}

function isSequenceOfMaps(value: ValueInfoProto): boolean {
  const type = value.type?.value;
  return type?.case === "sequenceType" && type.value.elemType?.value.case === "mapType";
}
