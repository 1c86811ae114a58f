import { type GraphProto, type NodeProto, TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import type { FloatConstant } from "./float-constants.ts";
import { float32Operators, positionArithmetic, precisionFree } from "./float32-operators.ts";
import { subgraphsOf } from "./graph-uses.ts";
import { fitOfMagnitude, halfFit } from "./half-constants.ts";
import type { ValueSurvey } from "./value-survey.ts";

/** In what a node computes; `any` is a node that takes its floats as they come. */
export type NodePrecision =
  | { readonly kind: "half" }
  | { readonly kind: "any" }
  /** `why` is `undefined` for a node without floats. */
  | { readonly kind: "full"; readonly why: string | undefined };

/** What a plan is made of. */
export interface PrecisionInputs {
  readonly graph: GraphProto;
  readonly constants: ReadonlyMap<string, FloatConstant>;
  readonly survey: ValueSurvey;
  /** Operators and names of nodes that stay in 32 bits besides those that must. */
  readonly keep: ReadonlySet<string>;
}

const half = { kind: "half" } as const;
const any = { kind: "any" } as const;

/** Integer types of which 16-bit floats hold every value. */
const exactInHalf: readonly (string | undefined)[] = ["bool", "int8", "uint8"];

/** Operators of quantized models whose results are scaled before they are floats like others. */
const integerProducts = ["MatMulInteger", "ConvInteger"];

/** Decides for each node of the main graph whether it computes in 16-bit floats. */
export function planPrecision(inputs: PrecisionInputs): Map<NodeProto, NodePrecision> {
  const { graph } = inputs;
  const positions = positionNodes(inputs);
  const scaled = scalingNodes(graph);
  const fits = new Map<string, string | undefined>();
  const plan = new Map<NodeProto, NodePrecision>();
  for (const node of graph.node) plan.set(node, precisionOf(node, inputs, fits, positions, scaled));
  return plan;
}

/** Whether a value is a 32-bit float tensor. */
export function isFloat(
  name: string,
  { constants, survey }: Pick<PrecisionInputs, "constants" | "survey">,
): boolean {
  return constants.has(name) || survey.types.get(name) === "float32";
}

function precisionOf(
  node: NodeProto,
  inputs: PrecisionInputs,
  fits: Map<string, string | undefined>,
  positions: ReadonlySet<NodeProto>,
  scaled: ReadonlySet<NodeProto>,
): NodePrecision {
  const { survey, keep } = inputs;
  const floatsIn = node.input.filter((name) => isFloat(name, inputs));
  const floatsOut = node.output.filter((name) => isFloat(name, inputs));
  const full = (why: string): NodePrecision => ({ kind: "full", why });
  if (subgraphsOf(node).length > 0) return full("it holds subgraphs");
  if (floatsIn.length + floatsOut.length === 0) return { kind: "full", why: undefined };
  if (node.domain !== "" && node.domain !== "ai.onnx") return full(`it is of ${node.domain}`);
  if (keep.has(node.opType) || (node.name !== "" && keep.has(node.name)))
    return full("--keep-fp32 names it");
  if (precisionFree.has(node.opType)) return any;
  if (node.opType === "Cast" && floatsOut.length === 0) return any;
  if (float32Operators.has(node.opType)) return full("it stays in 32 bits");
  if (positions.has(node)) return full("it computes positions or sizes");
  if (scaled.has(node)) return full("it scales sums of 8-bit products");
  if (node.opType === "Cast" && !exactInHalf.includes(survey.types.get(node.input[0] ?? "")))
    return floatsIn.length > 0 ? half : full("it makes floats of integers");
  const tensors = [...node.input, ...node.output].filter((name) => survey.types.has(name));
  if (tensors.some((name) => survey.types.get(name) === undefined))
    return full("it handles sequences or optionals");
  // Statistics beside the result of a normalization have a type of their own.
  if (/Normalization$/.test(node.opType) && node.output.filter(Boolean).length > 1)
    return full("it has several results");
  for (const name of new Set([...floatsIn, ...floatsOut])) {
    if (!fits.has(name)) fits.set(name, misfit(name, inputs));
    const why = fits.get(name);
    if (why !== undefined) return full(why);
  }
  return half;
}

/** Why 16 bits cannot stand for a value. */
function misfit(name: string, { constants, survey }: PrecisionInputs): string | undefined {
  const constant = constants.get(name);
  if (constant) {
    const fit = halfFit(constant.values);
    return fit === "fits" ? undefined : `a constant of it is ${fit} for 16 bits`;
  }
  const fit = fitOfMagnitude(survey.magnitudes.get(name) ?? 0);
  return fit === "fits" ? undefined : `a value of it is ${fit} for 16 bits`;
}

/** Nodes whose floats become integers, or the sizes that an operator takes, by arithmetic alone. */
function positionNodes(inputs: PrecisionInputs): Set<NodeProto> {
  const producers = new Map<string, NodeProto>();
  for (const node of inputs.graph.node) for (const name of node.output) producers.set(name, node);
  const found = new Set<NodeProto>();
  const open: string[] = [];
  for (const node of inputs.graph.node) {
    if (node.opType === "Cast" && castsTo(node) !== TensorProto_DataType.FLOAT)
      open.push(...node.input.filter((name) => isFloat(name, inputs)));
    if (node.opType === "Range") open.push(...node.input);
    if (node.opType === "Resize" || node.opType === "Upsample") open.push(...node.input.slice(1));
  }
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producers.get(name);
    if (!node || found.has(node) || !positionArithmetic.has(node.opType)) continue;
    found.add(node);
    open.push(...node.input.filter((input) => isFloat(input, inputs)));
  }
  return found;
}

/** Casts and products by which sums of 8-bit products become floats; scales are too small for 16 bits. */
function scalingNodes(graph: GraphProto): Set<NodeProto> {
  const values = new Set<string>();
  const found = new Set<NodeProto>();
  for (const node of graph.node) {
    if (integerProducts.includes(node.opType)) values.add(node.output[0] ?? "");
    if (node.opType === "DynamicQuantizeLinear") values.add(node.output[1] ?? "");
    if (node.opType !== "Cast" && node.opType !== "Mul") continue;
    if (!node.input.some((name) => values.has(name))) continue;
    found.add(node);
    // What follows the product of sums and scales is a float like others.
    if (node.opType === "Cast" || !node.input.some((name) => isScaledSum(name, graph)))
      values.add(node.output[0] ?? "");
  }
  return found;
}

function isScaledSum(name: string, graph: GraphProto): boolean {
  const cast = graph.node.find(({ opType, output }) => opType === "Cast" && output[0] === name);
  const source = cast?.input[0];
  return graph.node.some(
    ({ opType, output }) => integerProducts.includes(opType) && output[0] === source,
  );
}

/** Element type that a Cast gives. */
export function castsTo(node: NodeProto): number {
  return Number(node.attribute.find(({ name }) => name === "to")?.i ?? 0n);
}
