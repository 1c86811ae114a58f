import { type NodeProto, TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import { modelUnsupported } from "../errors/model-errors.ts";
import { dropConstants, type FloatConstant, floatConstants } from "./float-constants.ts";
import { FreshNames, usedValues } from "./graph-uses.ts";
import { makeCast, makeNode, makeTensor } from "./make-node.ts";
import { encodeOnnxFile, type OnnxFile, readOnnxFile } from "./onnx-file.ts";
import {
  allFinite,
  type QuantizedWeights,
  quantizeWeights,
  toUnsigned,
  transposed,
  unsignedZero,
} from "./quantized-weights.ts";

/** First version of the standard operators that has DynamicQuantizeLinear. */
const minOpset = 11;

/** Fewer weights than this save less than the node that quantizes their input costs. */
export const minQuantizedWeights = 1024;

/**
 * How codes of matrices are written. ONNX Runtime multiplies signed ones faster, and exactly on ARM and on
 * x86 with VNNI; older x86 adds two products in 16 bits, which large ones overflow. Unsigned ones are exact
 * everywhere. Codes of convolutions are always unsigned, as it has no ConvInteger for others.
 */
export type CodeType = "int8" | "uint8";

/** What happens to convolutions; ConvInteger saves memory, and on many CPUs no time. */
export type ConvolutionChoice = "quantized" | "left";

/** A node that was looked at, and why it was left as it is. */
export interface LeftNode {
  readonly node: string;
  readonly operator: string;
  readonly why: string;
}

/** A model with quantized weights. */
export interface QuantizedModel {
  readonly bytes: Uint8Array;
  /** Nodes that compute in 8 bits now, by operator. */
  readonly quantized: ReadonlyMap<string, number>;
  readonly left: readonly LeftNode[];
}

/**
 * Quantizes the weights of MatMul, Gemm and, if asked for, Conv to 8 bits a weight with a scale an output
 * channel. Inputs of these nodes are quantized while the model runs, with a scale a call
 * (DynamicQuantizeLinear); sums are exact in 32 bits. Weights that another node needs stay beside their
 * codes; nodes of subgraphs stay as they are.
 *
 * @throws TensorwireError `MODEL_UNSUPPORTED` for operators before version 11, and what
 * {@link readOnnxFile} throws
 */
export function quantizeGraph(
  name: string,
  bytes: Uint8Array,
  codeType: CodeType,
  convolutions: ConvolutionChoice,
): QuantizedModel {
  const file = readOnnxFile(name, bytes);
  if (file.opset < minOpset) {
    throw modelUnsupported(
      name,
      `it is written in version ${file.opset} of the ONNX operators, expected ${minOpset} or later, which have DynamicQuantizeLinear; export it again or convert it with onnx.version_converter`,
    );
  }
  return new GraphQuantizer(file, codeType, convolutions).quantize();
}

/** Codes of a weight, and the names of what the graph keeps of it. */
interface StoredWeights {
  readonly codeType: CodeType;
  readonly codes: string;
  readonly scales: string;
}

/** A float operator that can be put as an integer one. */
interface Plan {
  readonly constant: FloatConstant;
  readonly operator: "MatMulInteger" | "ConvInteger";
  /** Tells the stored forms of the same weight apart. */
  readonly form: string;
  quantize(): { readonly weights: QuantizedWeights; readonly shape: readonly number[] };
  readonly scaleShape: readonly number[];
  /** Multiplies every scale. */
  readonly factor: number;
  /** Value that is added to the product: its name, or a new constant. */
  readonly addend:
    | string
    | { readonly name: string; readonly make: () => FloatConstant }
    | undefined;
}

class GraphQuantizer {
  readonly #file: OnnxFile;
  readonly #codeType: CodeType;
  readonly #convolutions: ConvolutionChoice;
  readonly #constants: ReadonlyMap<string, FloatConstant>;
  readonly #names: FreshNames;
  readonly #nodes: NodeProto[] = [];
  readonly #inputs = new Map<string, readonly [codes: string, scale: string, zero: string]>();
  readonly #stored = new Map<string, StoredWeights>();
  readonly #quantized = new Map<string, number>();
  readonly #left: LeftNode[] = [];
  #zeroPoint: string | undefined;

  constructor(file: OnnxFile, codeType: CodeType, convolutions: ConvolutionChoice) {
    this.#file = file;
    this.#codeType = codeType;
    this.#convolutions = convolutions;
    this.#constants = floatConstants(file.graph);
    this.#names = new FreshNames(file.graph);
  }

  quantize(): QuantizedModel {
    const { graph } = this.#file;
    const replaced = new Set<string>();
    for (const node of graph.node) {
      const plan = this.#plan(node);
      if (typeof plan === "object") {
        this.#emit(node, plan);
        for (const name of node.input) if (this.#constants.has(name)) replaced.add(name);
        this.#quantized.set(node.opType, (this.#quantized.get(node.opType) ?? 0) + 1);
        continue;
      }
      if (plan !== undefined)
        this.#left.push({
          node: node.name || (node.output[0] ?? ""),
          operator: node.opType,
          why: plan,
        });
      this.#nodes.push(node);
    }
    graph.node = this.#nodes;
    const used = usedValues(graph);
    dropConstants(graph, new Set([...replaced].filter((name) => !used.has(name))));
    return { bytes: encodeOnnxFile(this.#file), quantized: this.#quantized, left: this.#left };
  }

  /** How a node is quantized, why it is not, or `undefined` for a node without weights. */
  #plan(node: NodeProto): Plan | string | undefined {
    if (node.domain !== "" && node.domain !== "ai.onnx") return undefined;
    switch (node.opType) {
      case "MatMul":
        return this.#planMatMul(node);
      case "Gemm":
        return this.#planGemm(node);
      case "Conv":
        return this.#planConv(node);
      default:
        return undefined;
    }
  }

  #planMatMul(node: NodeProto): Plan | string {
    const constant = this.#weights(node, 2);
    if (typeof constant === "string") return constant;
    return { ...matrixPlan(constant, "columns"), factor: 1, addend: undefined };
  }

  #planGemm(node: NodeProto): Plan | string {
    const constant = this.#weights(node, 2);
    if (typeof constant === "string") return constant;
    if (integerOf(node, "transA", 0) !== 0) return "its input is transposed";
    const layout = integerOf(node, "transB", 0) === 0 ? "columns" : "rows";
    const beta = floatOf(node, "beta", 1);
    const bias = node.input[2] ?? "";
    const known = this.#constants.get(bias);
    if (bias !== "" && beta !== 1 && !known)
      return "its beta multiplies a value that is no constant";
    return {
      ...matrixPlan(constant, layout),
      factor: floatOf(node, "alpha", 1),
      addend:
        bias === "" || beta === 0
          ? undefined
          : known && beta !== 1
            ? { name: `${bias}__times_beta`, make: () => times(known, beta) }
            : bias,
    };
  }

  #planConv(node: NodeProto): Plan | string {
    const constant = this.#weights(node, undefined);
    if (typeof constant === "string") return constant;
    const { shape } = constant;
    if (shape.length < 3) return `its weights have ${shape.length} dimensions`;
    if (integerOf(node, "group", 1) !== 1) return "it is grouped";
    if (this.#convolutions === "left") return "convolutions are left";
    const channels = shape[0]!;
    const ones = shape.slice(2).map(() => 1);
    const bias = node.input[2] ?? "";
    const known = this.#constants.get(bias);
    if (bias !== "" && !known) return "its bias is no constant";
    return {
      constant,
      operator: "ConvInteger",
      form: "channels",
      quantize: () => ({ weights: quantizeWeights(constant.values, channels, "first"), shape }),
      scaleShape: [channels, ...ones],
      factor: 1,
      addend: known && {
        name: `${bias}__by_channel`,
        make: () => ({ ...known, shape: [channels, ...ones] }),
      },
    };
  }

  /** Constant weights of a node, or why they cannot be quantized. */
  #weights(node: NodeProto, rank: number | undefined): FloatConstant | string {
    const constant = this.#constants.get(node.input[1] ?? "");
    if (!constant) return "its weights are no float32 constant";
    const { shape, values } = constant;
    if (rank !== undefined && shape.length !== rank)
      return `its weights have ${shape.length} dimensions`;
    if (values.length < minQuantizedWeights)
      return `it has fewer than ${minQuantizedWeights} weights`;
    return allFinite(values) ? constant : "its weights are not all finite";
  }

  #emit(node: NodeProto, plan: Plan): void {
    const output = node.output[0] ?? "";
    const name = (suffix: string): string => this.#names.name(`${output}__${suffix}`);
    const [codes, inputScale, inputZero] = this.#quantizedInput(node.input[0] ?? "");
    const weights = this.#store(plan);
    const sums = name("sums");
    // Strides, pads and the like; a MatMulInteger has none.
    const attribute = plan.operator === "ConvInteger" ? node.attribute : [];
    const operands = [codes, weights.codes, inputZero];
    // Codes are signed without a zero point.
    if (weights.codeType === "uint8") operands.push(this.#zero());
    const integer = makeNode(plan.operator, operands, sums, { attribute });
    const floats = name("floats");
    const scale = name("scale");
    // The value had its name before, so the node that gives it now needs one of its own.
    const last = { name: name("result") };
    this.#nodes.push(
      integer,
      makeCast(sums, floats, TensorProto_DataType.FLOAT),
      makeNode("Mul", [inputScale, weights.scales], scale),
    );
    if (plan.addend === undefined) {
      this.#nodes.push(makeNode("Mul", [floats, scale], output, last));
      return;
    }
    const product = name("product");
    this.#nodes.push(
      makeNode("Mul", [floats, scale], product),
      makeNode("Add", [product, this.#addend(plan.addend)], output, last),
    );
  }

  /** Quantizes the input of a node once for all that read it. */
  #quantizedInput(input: string): readonly [codes: string, scale: string, zero: string] {
    const known = this.#inputs.get(input);
    if (known) return known;
    const names = [
      this.#names.name(`${input}__codes`),
      this.#names.name(`${input}__scale`),
      this.#names.name(`${input}__zero`),
    ] as const;
    const node = makeNode("DynamicQuantizeLinear", [input], names[0]);
    node.output = [...names];
    this.#nodes.push(node);
    this.#inputs.set(input, names);
    return names;
  }

  #store({ constant, operator, form, factor, scaleShape, quantize }: Plan): StoredWeights {
    const key = JSON.stringify([constant.name, form, factor]);
    const known = this.#stored.get(key);
    if (known) return known;
    const { initializer } = this.#file.graph;
    const { weights, shape } = quantize();
    const stored = {
      codeType: operator === "ConvInteger" ? "uint8" : this.#codeType,
      codes: this.#names.name(`${constant.name}__codes`),
      scales: this.#names.name(`${constant.name}__scales`),
    } as const;
    const codes = stored.codeType === "uint8" ? toUnsigned(weights.codes) : weights.codes;
    const scales = factor === 1 ? weights.scales : weights.scales.map((scale) => scale * factor);
    initializer.push(
      makeTensor(stored.codes, shape, codes),
      makeTensor(stored.scales, scaleShape, scales),
    );
    this.#stored.set(key, stored);
    return stored;
  }

  #addend(addend: NonNullable<Plan["addend"]>): string {
    if (typeof addend === "string") return addend;
    const { shape, values } = addend.make();
    const name = this.#names.name(addend.name);
    this.#file.graph.initializer.push(makeTensor(name, shape, values));
    return name;
  }

  #zero(): string {
    if (this.#zeroPoint === undefined) {
      this.#zeroPoint = this.#names.name("weights__zero");
      this.#file.graph.initializer.push(
        makeTensor(this.#zeroPoint, [], Uint8Array.of(unsignedZero)),
      );
    }
    return this.#zeroPoint;
  }
}

/** Plans a matrix whose output channels are its columns, or its rows. */
function matrixPlan(
  constant: FloatConstant,
  channels: "columns" | "rows",
): Omit<Plan, "factor" | "addend"> {
  const [rows, columns] = constant.shape as [number, number];
  const size = channels === "columns" ? columns : rows;
  return {
    constant,
    operator: "MatMulInteger",
    form: channels,
    quantize: () => {
      const weights = quantizeWeights(
        constant.values,
        size,
        channels === "columns" ? "last" : "first",
      );
      return channels === "columns"
        ? { weights, shape: constant.shape }
        : {
            weights: { ...weights, codes: transposed(weights.codes, rows, columns) },
            shape: [columns, rows],
          };
    },
    scaleShape: [size],
  };
}

function times({ name, shape, values }: FloatConstant, factor: number): FloatConstant {
  return { name, shape, values: values.map((value) => value * factor) };
}

function integerOf(node: NodeProto, name: string, fallback: number): number {
  const attribute = node.attribute.find((candidate) => candidate.name === name);
  return attribute ? Number(attribute.i) : fallback;
}

function floatOf(node: NodeProto, name: string, fallback: number): number {
  return node.attribute.find((candidate) => candidate.name === name)?.f ?? fallback;
}
