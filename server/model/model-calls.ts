import {
  bytesTensor,
  numericTensor,
  type TypedTensor,
} from "../../clients/typescript/src/typed-tensor.ts";
import { toPortable } from "../errors/portable-error.ts";
import { packTensors, unpackTensor } from "../tensor/packed-tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { viewTypedArray } from "../tensor/typed-array.ts";
import type { InferContext, ModelDefinition, ModelLog, OutputsOf, Ports } from "./define-model.ts";
import { encodeOutputs } from "./encode-outputs.ts";
import { failureOf } from "./failure.ts";
import type { ServerCalls } from "./server-calls.ts";
import {
  answersAtOnce,
  type FromThread,
  type ThreadModel,
  type ToThread,
} from "./thread-messages.ts";

/** What the calls of a model run on. */
export interface ModelCallsOptions {
  readonly name: string;
  readonly definition: ModelDefinition;
  readonly model: ThreadModel;
  /** What `load` gave. */
  readonly state: unknown;
  readonly server: ServerCalls;
  readonly log: ModelLog;
  readonly post: (message: FromThread, transfer?: ArrayBuffer[]) => void;
}

type InferMessage = Extract<ToThread, { readonly kind: "infer" }>;

interface UnderWay {
  readonly abort: AbortController;
  /** Answers that may be sent before their reader took others. */
  room: number;
  wake: () => void;
}

/** Least time between two log lines about failed calls, in ms. */
const failureLogMs = 1000;

/** Calls of a model under way in its thread. */
export class ModelCalls {
  readonly #options: ModelCallsOptions;
  readonly #calls = new Map<number, UnderWay>();
  #loggedAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(options: ModelCallsOptions) {
    this.#options = options;
  }

  /** Nobody waits for a call any more. */
  cancel(id: number): void {
    const call = this.#calls.get(id);
    call?.abort.abort(new DOMException("nobody waits for the answer any more", "AbortError"));
    call?.wake();
  }

  /** The reader of a decoupled call took an answer. */
  more(id: number): void {
    const call = this.#calls.get(id);
    if (!call) return;
    call.room++;
    call.wake();
  }

  /** Computes a call, and sends its answers, or its failure. */
  async infer(message: InferMessage): Promise<void> {
    const { id, outputNames } = message;
    const { name, definition, model, post } = this.#options;
    const call: UnderWay = { abort: new AbortController(), room: answersAtOnce, wake() {} };
    this.#calls.set(id, call);
    try {
      const inputs = Object.fromEntries(
        message.inputs.map((packed) => [packed.name, typedTensor(unpackTensor(packed))]),
      );
      const started = performance.now();
      const given = definition.infer(inputs, this.#context(message, call));
      if (model.decoupled) {
        await this.#answers(id, call, given, outputNames, started);
        return;
      }
      const outputs = encodeOutputs(model.outputs, outputNames, await given);
      this.#answer(id, outputs, started);
    } catch (thrown) {
      const error = failureOf(name, thrown);
      // Whoever cancelled is no longer interested in how it ended.
      if (error.reason === "MODEL_EXECUTION_FAILED" && !call.abort.signal.aborted) {
        this.#logFailure(thrown);
      }
      post({ kind: "failed", id, error: toPortable(error) });
    } finally {
      this.#calls.delete(id);
      // What listens for the end of the call hears of it, whatever end that was.
      call.abort.abort(new DOMException("the call has ended", "AbortError"));
    }
  }

  async #answers(
    id: number,
    call: UnderWay,
    given: ReturnType<ModelDefinition["infer"]>,
    outputNames: readonly string[],
    started: number,
  ): Promise<void> {
    const { model, post } = this.#options;
    if (!isAsyncIterable(given)) {
      throw new Error(
        "infer of a decoupled model gave no async iterable; make it an async * function",
      );
    }
    let since = started;
    for await (const answer of given) {
      while (call.room === 0 && !call.abort.signal.aborted) {
        await new Promise<void>((resolve) => {
          call.wake = resolve;
        });
      }
      call.abort.signal.throwIfAborted();
      call.room--;
      this.#answer(id, encodeOutputs(model.outputs, outputNames, answer), since);
      since = performance.now();
    }
    post({ kind: "answered", id, inferNs: nsSince(since) });
  }

  #answer(id: number, outputs: readonly Tensor[], since: number): void {
    const inferNs = nsSince(since);
    // An output may be an input, or kept by the model: it is copied, or cloned with the message.
    const { packed, transfer } = packTensors(outputs, "borrowed");
    this.#options.post({ kind: "answer", id, outputs: packed, inferNs }, transfer);
  }

  #context({ parameters, outputNames }: InferMessage, call: UnderWay): InferContext<unknown> {
    const { state, server, log } = this.#options;
    const { signal } = call.abort;
    let client: InferContext<unknown>["client"] | undefined;
    return {
      state,
      signal,
      parameters: Object.fromEntries(
        Object.entries(parameters).map(([key, value]) => [key, plainNumber(value)]),
      ),
      outputs: outputNames,
      log,
      get client() {
        client ??= server.client(signal);
        return client;
      },
    };
  }

  #logFailure(thrown: unknown): void {
    const now = performance.now();
    if (now - this.#loggedAt < failureLogMs) {
      this.#unlogged++;
      return;
    }
    const fields = { stack: thrown instanceof Error ? thrown.stack : String(thrown) };
    const more = this.#unlogged > 0 ? { failedSinceTheLastLine: this.#unlogged } : {};
    this.#options.log.error({ ...fields, ...more }, "a call of the model failed");
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}

function typedTensor(tensor: Tensor): TypedTensor {
  if (tensor.datatype === "BYTES") return bytesTensor(tensor.shape, tensor.elements);
  const { name, datatype, shape, bytes } = tensor;
  // The datatype decides the array; the compiler cannot follow it through the union.
  return numericTensor(
    datatype,
    shape,
    viewTypedArray(name, datatype, bytes, shape),
  ) as TypedTensor;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<OutputsOf<Ports>> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

function plainNumber<T>(value: T): T | number {
  return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function nsSince(started: number): number {
  return Math.round((performance.now() - started) * 1e6);
}
