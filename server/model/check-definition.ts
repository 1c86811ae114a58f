import { datatypes, isDatatype } from "../tensor/datatype.ts";
import { isDefined, type ModelDefinition, type Ports } from "./define-model.ts";
import type { ThreadModel, ThreadPort } from "./thread-messages.ts";

const mostConcurrency = 4096;
const defaultConcurrency = 16;

/**
 * Holds what a module exports against what the types say, for modules that no compiler has seen.
 *
 * @throws Error that says what is wrong with it
 */
export function checkDefinition(exported: unknown): {
  readonly definition: ModelDefinition;
  readonly model: ThreadModel;
} {
  if (!isDefined(exported)) {
    throw new Error(
      'its default export is not a model; write "export default defineModel({ ... })"',
    );
  }
  const definition = exported;
  const { maxBatchSize = 0, concurrency = defaultConcurrency } = definition;
  for (const name of ["load", "unload", "infer"] as const) {
    const given = definition[name];
    if (given === undefined && name !== "infer") continue;
    if (typeof given !== "function")
      throw new Error(`its ${name} is ${typeof given}, expected a function`);
  }
  if (!Number.isInteger(maxBatchSize) || maxBatchSize < 0) {
    throw new Error(`its maxBatchSize is ${maxBatchSize}, expected 0 or more`);
  }
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > mostConcurrency) {
    throw new Error(`its concurrency is ${concurrency}, expected 1 to ${mostConcurrency}`);
  }
  const outputs = portsOf("outputs", definition.outputs, maxBatchSize > 0);
  if (outputs.length === 0) throw new Error("it has no outputs");
  const inputs = portsOf("inputs", definition.inputs, maxBatchSize > 0);
  const decoupled = definition.decoupled ?? isAsyncGenerator(definition.infer);
  if (decoupled && maxBatchSize > 0) {
    throw new Error(
      "it is decoupled and has maxBatchSize; answers of a batch could not be told apart",
    );
  }
  return { definition, model: { inputs, outputs, maxBatchSize, concurrency, decoupled } };
}

function portsOf(kind: "inputs" | "outputs", ports: Ports, batched: boolean): ThreadPort[] {
  if (typeof ports !== "object" || ports === null) throw new Error(`its ${kind} are not an object`);
  return Object.entries(ports).map(([name, port]) => {
    const { datatype, shape, optional = false, labels = [] } = port ?? {};
    const where = `${kind}.${name}`;
    if (typeof datatype !== "string" || !isDatatype(datatype)) {
      throw new Error(
        `its ${where}.datatype is ${JSON.stringify(datatype)}, expected one of ${datatypes.join(", ")}`,
      );
    }
    if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= -1)) {
      throw new Error(
        `its ${where}.shape is ${JSON.stringify(shape)}, expected an array of sizes, -1 for any`,
      );
    }
    return {
      name,
      datatype,
      shape: batched ? [-1, ...shape] : [...shape],
      optional: kind === "inputs" && optional === true,
      labels: [...labels],
    };
  });
}

function isAsyncGenerator(infer: unknown): boolean {
  return Object.prototype.toString.call(infer) === "[object AsyncGeneratorFunction]";
}
