import { rawAndContents, rawCountMismatch } from "../../errors/request-errors.ts";
import {
  sharedMemoryTooSmall,
  sharedMemoryUnsupported,
} from "../../errors/shared-memory-errors.ts";
import { datatypeUnknown } from "../../errors/tensor-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import {
  type InferRequest,
  type InferResponse,
  inferResponseMessage,
} from "../../rpc/infer-messages.ts";
import { joinBytesElements } from "../../tensor/bytes-elements.ts";
import { contentsHoldElements, decodeContents, type TypedContents } from "../../tensor/contents.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import { abortError } from "../abort-error.ts";
import type { ServedModel } from "../served-model.ts";
import {
  isInMemory,
  type MemoryPlace,
  memoryParameters,
  otherParameters,
  placeOf,
} from "./memory-place.ts";
import type { RegionTable } from "./region-table.ts";

/** What answers calls. */
export type AnsweringModel = Pick<
  ServedModel,
  "name" | "decoupled" | "mostOfStream" | "infer" | "stream"
>;

/** Whether a request has a tensor in shared memory. */
export function namesRegion({ inputs, outputs }: InferRequest): boolean {
  for (const { parameters } of inputs) if (isInMemory(parameters)) return true;
  for (const { parameters } of outputs) if (isInMemory(parameters)) return true;
  return false;
}

/** Begins a call with the model of its request, as that is loaded now. */
export type BeginCall = <T>(
  request: InferRequest,
  call: CallAbort,
  use: (model: AnsweringModel) => T | Promise<T>,
) => Promise<T>;

/**
 * A model for calls whose tensors are in shared memory. Inputs are copied out of it, and are then as those of a
 * message with raw contents; outputs are answered raw, and those that have a place are copied there. What is
 * large is copied in another thread, so that the one of the sockets is not held up; but for the inputs of streams
 * and of sequences, whose calls must reach the model in their order.
 *
 * @param beginLater - begins a call whose inputs have been copied in another thread meanwhile
 */
export function throughMemory(
  model: AnsweringModel,
  table: RegionTable,
  beginLater: BeginCall,
): AnsweringModel {
  const { name, decoupled, mostOfStream } = model;
  return {
    name,
    decoupled,
    mostOfStream,
    infer(request, call) {
      const memory = new MemoryCall(request, model, table);
      return memory.isLarge && !Object.hasOwn(request.parameters, "sequence_id")
        ? inferLater(memory, call, beginLater)
        : inferNow(memory, call, model);
    },
    async *stream(request, call) {
      const memory = new MemoryCall(request, model, table);
      if (!decoupled) {
        // The reader of one answer does not come back for the end.
        yield await onlyAnswer(memory, call, model);
        return;
      }
      try {
        yield* model.stream(memory.fetch(), call);
      } finally {
        memory.release();
      }
    },
  };
}

function inferNow(
  memory: MemoryCall,
  call: CallAbort,
  model: AnsweringModel,
): InferResponse | Promise<InferResponse> {
  let answer: InferResponse | Promise<InferResponse>;
  try {
    answer = model.infer(memory.fetch(), call);
    if (!(answer instanceof Promise)) answer = memory.answered(answer);
    else answer = answer.then((response) => memory.answered(response));
  } catch (error) {
    memory.release();
    throw error;
  }
  if (answer instanceof Promise) return answer.finally(() => memory.release());
  memory.release();
  return answer;
}

async function inferLater(
  memory: MemoryCall,
  call: CallAbort,
  beginLater: BeginCall,
): Promise<InferResponse> {
  try {
    const request = await memory.fetchLater();
    if (call.aborted) throw abortError(call, "while its inputs were copied from shared memory");
    const response = await beginLater(request, call, (model) => model.infer(request, call));
    return await memory.answered(response);
  } finally {
    memory.release();
  }
}

async function onlyAnswer(
  memory: MemoryCall,
  call: CallAbort,
  model: AnsweringModel,
): Promise<InferResponse> {
  try {
    const { value } = await model.stream(memory.fetch(), call).next();
    return await memory.answered(value);
  } finally {
    memory.release();
  }
}

/** Bytes from which on tensors are copied in another thread. */
const largeBytes = 1024 * 1024;

/** Raw contents of an input, or where they are. */
type InputContents = Uint8Array | MemoryPlace;

/** A call, the regions that it holds, and what it has copied. */
class MemoryCall {
  readonly #request: InferRequest;
  readonly #table: RegionTable;
  readonly #inputs: readonly InputContents[];
  readonly #outputs: ReadonlyMap<string, MemoryPlace>;
  readonly #copied: number;

  /**
   * @throws TensorwireError `SHARED_MEMORY_*`, `PARAMETER_INVALID`, `RAW_COUNT_MISMATCH`, `RAW_AND_CONTENTS`, and
   * what typed contents are refused for
   */
  constructor(
    request: InferRequest,
    model: Pick<AnsweringModel, "name" | "decoupled">,
    table: RegionTable,
  ) {
    this.#request = request;
    this.#table = table;
    const outputs = new Map<string, MemoryPlace>();
    for (const { name, parameters } of request.outputs) {
      if (!isInMemory(parameters)) continue;
      if (model.decoupled) {
        const why = `and model "${model.name}" may give any number of answers to a call`;
        throw sharedMemoryUnsupported(name, why);
      }
      outputs.set(name, placeOf(`output "${name}"`, parameters, table));
    }
    this.#outputs = outputs;
    this.#inputs = inputContents(request, table);
    let copied = 0;
    for (const input of this.#inputs) if (isPlace(input)) copied += input.byteSize;
    table.takeCopy(copied);
    this.#copied = copied;
    for (const { region } of this.#places()) region.hold();
  }

  /** Whether its inputs had better be copied in another thread. */
  get isLarge(): boolean {
    return this.#copied >= largeBytes;
  }

  /**
   * The request with its contents, and without any region.
   *
   * @throws TensorwireError `SHARED_MEMORY_UNAVAILABLE`
   */
  fetch(): InferRequest {
    return this.#with(
      this.#inputs.map((input) =>
        isPlace(input) ? input.region.read(input.offset, input.byteSize) : input,
      ),
    );
  }

  /** The same, copied in another thread. */
  async fetchLater(): Promise<InferRequest> {
    const contents: Uint8Array[] = [];
    for (const input of this.#inputs) {
      contents.push(
        isPlace(input) ? await input.region.readLater(input.offset, input.byteSize) : input,
      );
    }
    return this.#with(contents);
  }

  /**
   * Copies outputs to their places; the answer says instead where they are.
   *
   * @throws TensorwireError `SHARED_MEMORY_TOO_SMALL`, `SHARED_MEMORY_UNAVAILABLE`
   */
  answered(response: InferResponse): InferResponse | Promise<InferResponse> {
    if (this.#outputs.size === 0 || !response.outputs) return response;
    const raw = rawContents(response);
    const written: { readonly place: MemoryPlace; readonly bytes: Uint8Array }[] = [];
    let size = 0;
    const outputs = response.outputs.map((output, index) => {
      const { name = "", datatype, shape } = output;
      const place = this.#outputs.get(name);
      if (!place) return { name, datatype, shape, parameters: output.parameters };
      const bytes = raw[index]!;
      const { byteLength } = bytes;
      if (byteLength > place.byteSize) {
        throw sharedMemoryTooSmall(name, place.region.place.name, byteLength, place.byteSize);
      }
      written.push({ place, bytes });
      size += byteLength;
      // One entry for each output, as clients count on.
      raw[index] = nothing;
      return { name, datatype, shape, parameters: parametersOf(place, byteLength) };
    });
    const answer: InferResponse = {
      ...response,
      outputs: outputs as InferResponse["outputs"],
      rawOutputContents: raw,
    };
    // Nothing is written before all was found to have room.
    if (size >= largeBytes) return writeAllLater(written).then(() => answer);
    for (const { place, bytes } of written) place.region.write(place.offset, bytes);
    return answer;
  }

  /** The call is over. */
  release(): void {
    this.#table.giveCopy(this.#copied);
    for (const { region } of this.#places()) region.release();
  }

  *#places(): Generator<MemoryPlace> {
    for (const input of this.#inputs) if (isPlace(input)) yield input;
    yield* this.#outputs.values();
  }

  #with(rawInputContents: readonly Uint8Array[]): InferRequest {
    const request = this.#request;
    return {
      ...request,
      inputs: request.inputs.map(({ name, datatype, shape, parameters }) => ({
        name,
        datatype,
        shape,
        parameters: otherParameters(parameters),
      })),
      outputs: request.outputs.map(({ name, parameters }) => ({
        name,
        parameters: otherParameters(parameters),
      })),
      rawInputContents,
    };
  }
}

function isPlace(contents: InputContents): contents is MemoryPlace {
  return !ArrayBuffer.isView(contents);
}

async function writeAllLater(
  written: readonly { readonly place: MemoryPlace; readonly bytes: Uint8Array }[],
): Promise<void> {
  for (const { place, bytes } of written) await place.region.writeLater(place.offset, bytes);
}

/** Contents of all inputs. Those of the message are for the inputs that are not in shared memory. */
function inputContents(
  { inputs, rawInputContents }: InferRequest,
  table: RegionTable,
): readonly InputContents[] {
  const inMessage = inputs.filter(({ parameters }) => !isInMemory(parameters));
  if (rawInputContents.length > 0 && rawInputContents.length !== inMessage.length) {
    throw rawCountMismatch(rawInputContents.length, inMessage.length);
  }
  let next = 0;
  return inputs.map(({ name, datatype, shape, parameters, contents }) => {
    const typed = contentsHoldElements(contents);
    if (isInMemory(parameters)) {
      if (typed) throw rawAndContents(name);
      return placeOf(`input "${name}"`, parameters, table);
    }
    const raw = rawInputContents[next++];
    if (raw === undefined) return rawOf(name, datatype, Array.from(shape, Number), contents);
    if (typed) throw rawAndContents(name);
    return raw;
  });
}

const nothing = new Uint8Array(0);

/** Raw contents of typed ones. */
function rawOf(
  name: string,
  datatype: string,
  shape: readonly number[],
  contents: TypedContents | undefined,
): Uint8Array {
  if (!isDatatype(datatype)) throw datatypeUnknown(name, datatype);
  const { bytes, elements } = decodeContents(name, datatype, shape, contents);
  return bytes ?? joinBytesElements(elements);
}

/** Raw contents of all outputs. A request without inputs says nothing of its form, and is answered typed. */
function rawContents(response: InferResponse): Uint8Array[] {
  const { rawOutputContents = [] } = response;
  if (rawOutputContents.length > 0) return [...rawOutputContents];
  return inferResponseMessage(response).outputs.map(({ name, datatype, shape, contents }) =>
    rawOf(name, datatype, shape.map(Number), contents),
  );
}

function parametersOf(
  { region, offset }: MemoryPlace,
  written: number,
): Record<string, { readonly parameterChoice: object }> {
  const bytes = (value: number): { readonly parameterChoice: object } => ({
    parameterChoice: { case: "int64Param", value: BigInt(value) },
  });
  const { name } = region.place;
  return {
    [memoryParameters.region]: { parameterChoice: { case: "stringParam", value: name } },
    [memoryParameters.offset]: bytes(offset),
    [memoryParameters.byteSize]: bytes(written),
  };
}
