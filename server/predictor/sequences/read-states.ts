import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type {
  ModelSequenceBatching,
  ModelSequenceBatching_InitialState,
  ModelSequenceBatching_State,
} from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import { splitBytesElements } from "../../tensor/bytes-elements.ts";
import { type Datatype, elementSize } from "../../tensor/datatype.ts";
import { elementCount, shapeText } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { datatypeOfConfig } from "../model-config/data-type.ts";
import { isPlainFileName } from "../model-config/plain-file-name.ts";

/** A tensor that the server keeps from one call of a sequence to the next. */
export interface StateSpec {
  readonly input: string;
  readonly output: string;
  readonly datatype: Datatype;
  /** Of one sequence, a batch dimension of 1 included where the model has one; -1 is any size. */
  readonly shape: readonly number[];
  /** What it is when a sequence starts, under the name of the input. */
  readonly initial: Tensor;
}

/** Folder of a model in which the files of `data_file` lie. */
export const initialStateFolder = "initial_state";

/** Contents of a state at the start at most, in bytes: the model is loaded with them. */
const maxInitialBytes = 1024 * 1024 * 1024;

/**
 * Reads `state`, and the files that it names.
 *
 * @param folder - the model's folder
 * @param batched - whether the model has a batch dimension
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function readStates(
  model: string,
  folder: string,
  { state: given }: ModelSequenceBatching,
  batched: boolean,
): Promise<StateSpec[]> {
  const states: StateSpec[] = [];
  for (const state of given) {
    const { inputName, outputName } = state;
    if (inputName === "" || outputName === "") {
      throw modelConfigInvalid(model, "has a state without input_name or output_name");
    }
    if (states.some(({ input }) => input === inputName)) {
      throw modelConfigInvalid(model, `has two states with input_name "${inputName}"`);
    }
    if (states.some(({ output }) => output === outputName)) {
      throw modelConfigInvalid(model, `has two states with output_name "${outputName}"`);
    }
    states.push(await readState(model, folder, state, batched));
  }
  return states;
}

async function readState(
  model: string,
  folder: string,
  state: ModelSequenceBatching_State,
  batched: boolean,
): Promise<StateSpec> {
  const { inputName, outputName, initialState } = state;
  const datatype = datatypeOfConfig(state.dataType);
  const where = `state "${inputName}"`;
  if (!datatype) throw modelConfigInvalid(model, `gives ${where} no data_type`);
  if (state.useGrowableMemory) {
    throw modelUnsupported(model, `use_growable_memory of ${where} is for KIND_GPU instances`);
  }
  const dims = state.dims.map(Number);
  if (dims.some((size) => size < -1)) {
    throw modelConfigInvalid(model, `gives ${where} dims ${shapeText(dims)}, expected -1 or more`);
  }
  if (initialState.length > 1) {
    throw modelConfigInvalid(
      model,
      `gives ${where} ${initialState.length} times initial_state, expected one or none`,
    );
  }
  const [start] = initialState;
  if (start) checkInitial(model, where, start, state.dataType, dims);
  const startDims = start ? start.dims.map(Number) : dims.map((size) => Math.max(size, 1));
  const withBatch = (sizes: readonly number[]): number[] => (batched ? [1, ...sizes] : [...sizes]);
  const contents = await readContents(model, folder, where, start, datatype, startDims);
  return {
    input: inputName,
    output: outputName,
    datatype,
    shape: withBatch(dims),
    initial: { ...contents, name: inputName, shape: withBatch(startDims) } as Tensor,
  };
}

function checkInitial(
  model: string,
  where: string,
  { dataType, dims: given, name, stateData }: ModelSequenceBatching_InitialState,
  expected: ModelSequenceBatching_State["dataType"],
  dims: readonly number[],
): void {
  const fail = (why: string): never => {
    throw modelConfigInvalid(model, `gives ${where} an initial_state ${why}`);
  };
  if (dataType !== expected) fail("of another data_type");
  if (name === "") fail("without a name");
  const sizes = given.map(Number);
  if (sizes.some((size) => size < 0)) fail(`with dims ${shapeText(sizes)}, expected fixed sizes`);
  const fits =
    sizes.length === dims.length &&
    sizes.every((size, axis) => dims[axis] === -1 || dims[axis] === size);
  if (!fits) fail(`with dims ${shapeText(sizes)}, its own are ${shapeText(dims)}`);
  if (stateData.case === undefined) fail("with neither zero_data nor data_file");
}

type Contents = { readonly datatype: Datatype } & Pick<Tensor, "bytes" | "elements">;

async function readContents(
  model: string,
  folder: string,
  where: string,
  start: ModelSequenceBatching_InitialState | undefined,
  datatype: Datatype,
  dims: readonly number[],
): Promise<Contents> {
  const count = elementCount(dims);
  const size = count * Math.max(elementSize(datatype), 1);
  if (!(size <= maxInitialBytes)) {
    throw modelConfigInvalid(
      model,
      `gives ${where} an initial state of dims ${shapeText(dims)}, expected at most ${maxInitialBytes} bytes`,
    );
  }
  if (start?.stateData.case !== "dataFile") {
    // Without initial_state Triton leaves what is in memory; zeros tell nobody of anybody.
    return datatype === "BYTES"
      ? { datatype, elements: Array.from({ length: count }, () => new Uint8Array()) }
      : { datatype, bytes: new Uint8Array(size) };
  }
  const bytes = await readStateFile(model, folder, where, start.stateData.value);
  if (datatype === "BYTES") {
    try {
      return { datatype, elements: splitBytesElements(where, bytes, count) };
    } catch (error) {
      throw modelConfigInvalid(
        model,
        `gives ${where} a data_file that does not hold ${count} strings, each behind its length in 4 bytes: ${messageOf(error)}`,
        error,
      );
    }
  }
  if (bytes.byteLength !== size) {
    throw modelConfigInvalid(
      model,
      `gives ${where} a data_file of ${bytes.byteLength} bytes, expected ${size} for ${datatype} ${shapeText(dims)}`,
    );
  }
  return { datatype, bytes };
}

async function readStateFile(
  model: string,
  folder: string,
  where: string,
  filename: string,
): Promise<Uint8Array> {
  if (!isPlainFileName(filename)) {
    throw modelConfigInvalid(
      model,
      `gives ${where} data_file ${JSON.stringify(filename)}, expected a file of the folder ${initialStateFolder}, without a path`,
    );
  }
  const path = join(folder, initialStateFolder, filename);
  try {
    const { size } = await stat(path);
    if (size > maxInitialBytes) throw new Error(`it has ${size} bytes`);
    const file = await readFile(path);
    // Of its own memory, so that elements of any width are aligned.
    return new Uint8Array(file);
  } catch (error) {
    throw modelConfigInvalid(
      model,
      `gives ${where} data_file ${JSON.stringify(filename)}, which cannot be read from ${initialStateFolder}/: ${messageOf(error)}`,
      error,
    );
  }
}
