import type { GraphProto, NodeProto } from "../../gen/onnx/onnx_pb.ts";

/** Graphs that a node holds, such as the branches of an If. */
export function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}

/**
 * Values of the graph around that the subgraphs of a node read. They are found by name, so a name that a
 * subgraph gives to a value of its own counts too, which errs on the safe side.
 */
export function capturedBy(node: NodeProto): Set<string> {
  const captured = new Set<string>();
  for (const graph of subgraphsOf(node)) {
    for (const { name } of graph.output) captured.add(name);
    for (const inner of graph.node) {
      for (const name of inner.input) captured.add(name);
      for (const name of capturedBy(inner)) captured.add(name);
    }
  }
  captured.delete("");
  return captured;
}

/** Names of the values that nodes, their subgraphs and the graph's outputs read. */
export function usedValues(graph: GraphProto): Set<string> {
  const used = new Set(graph.output.map(({ name }) => name));
  for (const node of graph.node) {
    for (const name of node.input) used.add(name);
    for (const name of capturedBy(node)) used.add(name);
  }
  return used;
}

/** Makes names that no value, node or subgraph of a graph has. */
export class FreshNames {
  readonly #taken = new Set<string>();

  constructor(graph: GraphProto) {
    this.#take(graph);
  }

  /** @param wanted - the name, unless it is taken: then a number follows it */
  name(wanted: string): string {
    let name = wanted;
    for (let count = 2; this.#taken.has(name); count++) name = `${wanted}_${count}`;
    this.#taken.add(name);
    return name;
  }

  #take(graph: GraphProto): void {
    for (const { name } of [...graph.input, ...graph.output, ...graph.initializer])
      this.#taken.add(name);
    for (const node of graph.node) {
      this.#taken.add(node.name);
      for (const name of [...node.input, ...node.output]) this.#taken.add(name);
      for (const subgraph of subgraphsOf(node)) this.#take(subgraph);
    }
  }
}
