import { type NodeProto, TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import {
  dropConstants,
  type FloatConstant,
  floatConstants,
  floatTensor,
} from "./float-constants.ts";
import { capturedBy, FreshNames, usedValues } from "./graph-uses.ts";
import { toHalf } from "./half-constants.ts";
import { makeCast, makeTensor, makeTensorAttribute } from "./make-node.ts";
import { encodeOnnxFile, type OnnxFile, readOnnxFile } from "./onnx-file.ts";
import { castsTo, isFloat, type NodePrecision, planPrecision } from "./precision-plan.ts";
import type { LeftNode } from "./quantize-graph.ts";
import type { ValueSurvey } from "./value-survey.ts";

/** A model of 16-bit floats. */
export interface HalfModel {
  readonly bytes: Uint8Array;
  /** Nodes that compute in 16 bits now. */
  readonly converted: number;
  /** Nodes with floats that stay in 32 bits. */
  readonly left: readonly LeftNode[];
}

const { FLOAT, FLOAT16 } = TensorProto_DataType;

/**
 * Turns the floats of the main graph from 32 into 16 bits, constants among them. Inputs and outputs of
 * the model stay as they are, and so do the values that a subgraph reads from around it: casts stand
 * between. What 16 bits cannot hold, as constants and the survey tell, stays in 32 bits with the nodes
 * that use it.
 *
 * @param keep - operators and names of nodes that stay in 32 bits as well
 */
export function halveGraph(
  name: string,
  bytes: Uint8Array,
  survey: ValueSurvey,
  keep: ReadonlySet<string>,
): HalfModel {
  return new GraphHalver(readOnnxFile(name, bytes), survey, keep).halve();
}

class GraphHalver {
  readonly #file: OnnxFile;
  readonly #survey: ValueSurvey;
  readonly #constants: ReadonlyMap<string, FloatConstant>;
  readonly #plan: ReadonlyMap<NodeProto, NodePrecision>;
  readonly #names: FreshNames;
  /** Values that must have their name and 32 bits: outputs, and what subgraphs read. */
  readonly #pinned: ReadonlySet<string>;
  readonly #nodes: NodeProto[] = [];
  /** Names under which values are there in 16 bits, and in 32 bits where that is another name. */
  readonly #halves = new Map<string, string>();
  readonly #fulls = new Map<string, string>();
  readonly #left: LeftNode[] = [];
  #converted = 0;

  constructor(file: OnnxFile, survey: ValueSurvey, keep: ReadonlySet<string>) {
    const { graph } = file;
    this.#file = file;
    this.#survey = survey;
    this.#constants = floatConstants(graph);
    this.#plan = planPrecision({ graph, constants: this.#constants, survey, keep });
    this.#names = new FreshNames(graph);
    this.#pinned = new Set([
      ...graph.output.map((output) => output.name),
      ...graph.node.flatMap((node) => [...capturedBy(node)]),
    ]);
  }

  halve(): HalfModel {
    const { graph } = this.#file;
    for (const node of graph.node) this.#place(node);
    graph.node = this.#nodes;
    const used = usedValues(graph);
    dropConstants(graph, new Set([...this.#constants.keys()].filter((name) => !used.has(name))));
    for (const { name, type } of graph.valueInfo) {
      if (this.#halves.get(name) === name && type?.value.case === "tensorType")
        type.value.value.elemType = FLOAT16;
    }
    return { bytes: encodeOnnxFile(this.#file), converted: this.#converted, left: this.#left };
  }

  #place(node: NodeProto): void {
    // Constants stand ready in both precisions; a node that gives one stays for who needs 32 bits.
    if (node.opType === "Constant" && this.#constants.has(node.output[0] ?? "")) {
      this.#nodes.push(node);
      return;
    }
    const precision = this.#plan.get(node) ?? { kind: "full", why: undefined };
    switch (precision.kind) {
      case "full":
        node.input = node.input.map((input) => (this.#isFloat(input) ? this.#full(input) : input));
        this.#nodes.push(node);
        if (precision.why !== undefined) {
          const { opType: operator, name, output } = node;
          this.#left.push({ node: name || (output[0] ?? ""), operator, why: precision.why });
        }
        return;
      case "any":
        this.#nodes.push(node);
        return;
      case "half":
        this.#placeHalf(node);
        return;
    }
  }

  #placeHalf(node: NodeProto): void {
    node.input = node.input.map((input) => (this.#isFloat(input) ? this.#half(input) : input));
    halveAttributes(node);
    this.#nodes.push(node);
    this.#converted++;
    node.output = node.output.map((output) => {
      if (!this.#isFloat(output)) return output;
      if (!this.#pinned.has(output)) {
        this.#halves.set(output, output);
        return output;
      }
      const renamed = this.#names.name(`${output}__fp16`);
      this.#halves.set(output, renamed);
      this.#fulls.set(output, output);
      this.#nodes.push(makeCast(renamed, output, FLOAT, this.#names.name(`${output}__fp32`)));
      return renamed;
    });
  }

  /** Name of a float in 16 bits. */
  #half(value: string): string {
    const known = this.#halves.get(value);
    if (known !== undefined) return known;
    const name = this.#names.name(`${value}__fp16`);
    this.#halves.set(value, name);
    const constant = this.#constants.get(value);
    if (constant) {
      const { shape, values } = constant;
      this.#file.graph.initializer.push(makeTensor(name, shape, toHalf(values)));
    } else this.#nodes.push(makeCast(value, name, FLOAT16));
    return name;
  }

  /** Name of a float in 32 bits. */
  #full(value: string): string {
    const half = this.#halves.get(value);
    // A value that has another name in 16 bits has its own in 32.
    if (half !== value) return value;
    const known = this.#fulls.get(value);
    if (known !== undefined) return known;
    const name = this.#names.name(`${value}__fp32`);
    this.#fulls.set(value, name);
    this.#nodes.push(makeCast(half, name, FLOAT));
    return name;
  }

  #isFloat(value: string): boolean {
    return isFloat(value, { constants: this.#constants, survey: this.#survey });
  }
}

/** Changes what a node says about the type of its floats. */
function halveAttributes(node: NodeProto): void {
  if (node.opType === "Cast" && castsTo(node) === FLOAT) {
    for (const attribute of node.attribute)
      if (attribute.name === "to") attribute.i = BigInt(FLOAT16);
  }
  if (node.opType !== "ConstantOfShape") return;
  // Its value is a tensor of one element; 0 of 32 bits without one.
  const value = node.attribute.find(({ name }) => name === "value");
  const constant = value?.t && floatTensor("", value.t);
  const half = makeTensor("", [1], toHalf(constant?.values ?? Float32Array.of(0)));
  if (value) value.t = half;
  else node.attribute.push(makeTensorAttribute("value", half));
}
