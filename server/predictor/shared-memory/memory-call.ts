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

/**
 * A model for calls whose tensors are in shared memory. Inputs are copied out of it, and are then as those of a
 * message with raw contents; outputs are answered raw, and those that have a place are copied there.
 */
export function throughMemory(model: AnsweringModel, table: RegionTable): AnsweringModel {
  return {
    name: model.name,
    decoupled: model.decoupled,
    mostOfStream: model.mostOfStream,
    infer(request, call) {
      const memory = new MemoryCall(request, model, table);
      let answer: InferResponse | Promise<InferResponse>;
      try {
        answer = model.infer(memory.request, call);
        if (!(answer instanceof Promise)) answer = memory.answered(answer);
      } catch (error) {
        memory.release();
        throw error;
      }
      if (answer instanceof Promise) {
        return answer.then((response) => memory.answered(response)).finally(() => memory.release());
      }
      memory.release();
      return answer;
    },
    async *stream(request: InferRequest, call: CallAbort) {
      const memory = new MemoryCall(request, model, table);
      if (!model.decoupled) {
        // The reader of one answer does not come back for the end.
        yield await only(model.stream(memory.request, call), memory);
        return;
      }
      try {
        for await (const response of model.stream(memory.request, call)) {
          yield memory.answered(response);
        }
      } finally {
        memory.release();
      }
    },
  };
}

async function only(
  answers: AsyncGenerator<InferResponse>,
  memory: MemoryCall,
): Promise<InferResponse> {
  try {
    const { value } = await answers.next();
    return memory.answered(value);
  } finally {
    memory.release();
  }
}

/** A call, the regions that it holds, and what it has copied. */
class MemoryCall {
  /** The request with its contents, and without any region. */
  readonly request: InferRequest;
  readonly #table: RegionTable;
  readonly #outputs: ReadonlyMap<string, MemoryPlace>;
  #copied = 0;

  /**
   * @throws TensorwireError `SHARED_MEMORY_*`, `PARAMETER_INVALID`, `RAW_COUNT_MISMATCH`, `RAW_AND_CONTENTS`, and
   * what typed contents are refused for
   */
  constructor(request: InferRequest, model: AnsweringModel, table: RegionTable) {
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
    try {
      this.request = {
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
        rawInputContents: this.#contents(request),
      };
    } catch (error) {
      table.giveCopy(this.#copied);
      throw error;
    }
    for (const { region } of outputs.values()) region.hold();
  }

  /**
   * Copies outputs to their places; the answer says instead where they are.
   *
   * @throws TensorwireError `SHARED_MEMORY_TOO_SMALL`, `SHARED_MEMORY_UNAVAILABLE`
   */
  answered(response: InferResponse): InferResponse {
    if (this.#outputs.size === 0 || !response.outputs) return response;
    const raw = rawContents(response);
    // Nothing is written where not all has room.
    for (const [index, { name = "" }] of response.outputs.entries()) {
      const place = this.#outputs.get(name);
      const needed = raw[index]!.byteLength;
      if (place && needed > place.byteSize) {
        throw sharedMemoryTooSmall(name, place.region.place.name, needed, place.byteSize);
      }
    }
    const outputs = response.outputs.map((output, index) => {
      const { name, datatype, shape } = output;
      const place = this.#outputs.get(name ?? "");
      if (!place) return { name, datatype, shape, parameters: output.parameters };
      const bytes = raw[index]!;
      place.region.write(place.offset, bytes);
      // One entry for each output, as clients count on.
      raw[index] = nothing;
      return { name, datatype, shape, parameters: parametersOf(place, bytes.byteLength) };
    });
    return { ...response, outputs: outputs as InferResponse["outputs"], rawOutputContents: raw };
  }

  /** The call is over. */
  release(): void {
    this.#table.giveCopy(this.#copied);
    this.#copied = 0;
    for (const { region } of this.#outputs.values()) region.release();
  }

  /** Raw contents of all inputs. Those of the message are for the inputs that are not in shared memory. */
  #contents({ inputs, rawInputContents }: InferRequest): Uint8Array[] {
    const inMessage = inputs.filter(({ parameters }) => !isInMemory(parameters));
    if (rawInputContents.length > 0 && rawInputContents.length !== inMessage.length) {
      throw rawCountMismatch(rawInputContents.length, inMessage.length);
    }
    let next = 0;
    return inputs.map((input) => {
      const { name, parameters, contents } = input;
      const typed = contentsHoldElements(contents);
      if (isInMemory(parameters)) {
        if (typed) throw rawAndContents(name);
        const { region, offset, byteSize } = placeOf(`input "${name}"`, parameters, this.#table);
        this.#table.takeCopy(byteSize);
        this.#copied += byteSize;
        return region.read(offset, byteSize);
      }
      const raw = rawInputContents[next++];
      if (raw !== undefined) {
        if (typed) throw rawAndContents(name);
        return raw;
      }
      return rawOf(name, input.datatype, Array.from(input.shape, Number), contents);
    });
  }
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
