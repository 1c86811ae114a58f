import type { ModelConfig } from "../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest, InferResponse } from "../rpc/infer-messages.ts";
import type { BatchPolicy } from "./batching/batch-policy.ts";
import { rowsOf } from "./batching/batch-tensors.ts";
import { Batcher } from "./batching/batcher.ts";
import { TurnGauge } from "./batching/turn-gauge.ts";
import { CallQueue } from "./call-queue.ts";
import { classify } from "./classification.ts";
import { type DecodedRequest, decodeRequest } from "./decode-request.ts";
import { encodeOutputs } from "./encode-response.ts";
import type { EngineModel, EngineResult } from "./engines/engine.ts";
import { ModelStatistics } from "./model-statistics.ts";
import type { ModelSignature } from "./signature.ts";

/**
 * Calls that an engine is given at once: one that runs, and one that is already on its way there
 * when it ends. More would take them out of reach of a cancel.
 */
const engineSlots = 2;

/** What a version is made of. */
export interface ServedModelParts {
  readonly name: string;
  readonly version: string;
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly engine: EngineModel;
  /** How calls are gathered; `undefined` runs each on its own. */
  readonly batching: BatchPolicy | undefined;
  /** Calls that may wait at once. */
  readonly maxQueueSize: number;
  readonly observer: CallObserver;
}

/** Told of every call that ended, for histograms; times in ns. */
export type CallObserver = (
  model: ServedModel,
  outcome: "success" | "fail",
  totalNs: number,
  queueNs: number,
  inferNs: number,
) => void;

/** A loaded model version that answers calls. */
export class ServedModel {
  readonly name: string;
  readonly version: string;
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly engine: EngineModel;
  readonly queue: CallQueue | Batcher;
  readonly maxQueueSize: number;
  readonly statistics = new ModelStatistics();
  /** Set without batching. */
  readonly #calls: CallQueue | undefined;
  readonly #batching: { readonly batcher: Batcher; readonly gauge: TurnGauge } | undefined;
  readonly #observer: CallObserver;

  constructor(parts: ServedModelParts) {
    this.name = parts.name;
    this.version = parts.version;
    this.config = parts.config;
    this.signature = parts.signature;
    this.engine = parts.engine;
    this.maxQueueSize = parts.maxQueueSize;
    this.#observer = parts.observer;
    if (parts.batching) {
      const batcher = batcherOf(parts, parts.batching);
      this.#batching = { batcher, gauge: new TurnGauge(atTurnEnd) };
      this.queue = batcher;
    } else {
      this.#calls = new CallQueue(parts.name, engineSlots, parts.maxQueueSize);
      this.queue = this.#calls;
    }
  }

  /**
   * Answers a request: before it returns, if the engine can and no call is before it.
   *
   * @throws TensorwireError what {@link decodeRequest}, {@link CallQueue.run} and the engine throw
   */
  infer(request: InferRequest, call: CallAbort): InferResponse | Promise<InferResponse> {
    const arrived = performance.now();
    try {
      const decoded = decodeRequest(this.name, this.signature, request);
      const queued = performance.now();
      const batching = this.#batching;
      const gathers = batching?.gauge.called() ?? false;
      if (!gathers && this.queue.isIdle && !call.aborted) {
        const result = this.engine.runNow(decoded.inputs, decoded.outputNames);
        if (result) {
          const rows = this.#rowsOf(decoded);
          return this.#answer(request.id, decoded, result, arrived, queued, queued, rows);
        }
      }
      return batching
        ? this.#inferBatched(batching.batcher, request.id, decoded, call, arrived, queued)
        : this.#inferQueued(request.id, decoded, call, arrived, queued);
    } catch (thrown) {
      throw this.#failed(thrown, arrived);
    }
  }

  async #inferBatched(
    batcher: Batcher,
    id: string,
    decoded: DecodedRequest,
    call: CallAbort,
    arrived: number,
    queued: number,
  ): Promise<InferResponse> {
    try {
      const result = await batcher.run(call, decoded);
      const { startedMs, batchRows } = result;
      return this.#answer(id, decoded, result, arrived, queued, startedMs, batchRows);
    } catch (thrown) {
      throw this.#failed(thrown, arrived);
    }
  }

  async #inferQueued(
    id: string,
    decoded: DecodedRequest,
    call: CallAbort,
    arrived: number,
    queued: number,
  ): Promise<InferResponse> {
    try {
      let started = queued;
      const result = await this.#calls!.run(call, () => {
        started = performance.now();
        return this.engine.run(decoded.inputs, decoded.outputNames);
      });
      return this.#answer(id, decoded, result, arrived, queued, started, decoded.rows);
    } catch (thrown) {
      throw this.#failed(thrown, arrived);
    }
  }

  /**
   * @param started - when the engine was given the call; the times before are of its waiting
   * @param batchRows - rows of the run; 0 if another of its calls has counted it
   */
  #answer(
    id: string,
    decoded: DecodedRequest,
    result: EngineResult,
    arrived: number,
    queued: number,
    started: number,
    batchRows: number,
  ): InferResponse {
    const computed = performance.now();
    const outputs = result.outputs.map((tensor, index) => {
      const { classes, labels } = decoded.outputs[index]!;
      return classes > 0 ? classify(tensor, classes, labels) : tensor;
    });
    const encoded = encodeOutputs(outputs, decoded.form);
    const ended = performance.now();
    const totalNs = toNs(ended - arrived);
    const queueNs = toNs(started - queued);
    const times = {
      // The way to a worker and back counts as input, for it is the input's copy that costs.
      inputNs: toNs(queued - arrived) + Math.max(toNs(computed - started) - result.inferNs, 0),
      inferNs: result.inferNs,
      outputNs: toNs(ended - computed),
    };
    this.statistics.succeed(this.#rowsOf(decoded), totalNs, queueNs, times);
    if (batchRows > 0) this.statistics.executed(batchRows, times);
    this.#observer(this, "success", totalNs, queueNs, result.inferNs);
    return {
      modelName: this.name,
      modelVersion: this.version,
      id,
      outputs: encoded.outputs,
      rawOutputContents: encoded.rawOutputContents,
    };
  }

  /** Rows of a call, as they are counted: of a model that has batches without saying so too. */
  #rowsOf(decoded: DecodedRequest): number {
    return this.#batching ? rowsOf(decoded.inputs) : decoded.rows;
  }

  #failed(thrown: unknown, arrived: number): TensorwireError {
    const error = fromUnknown(thrown);
    const totalNs = toNs(performance.now() - arrived);
    this.statistics.failed(error.reason, totalNs);
    this.#observer(this, "fail", totalNs, 0, 0);
    return error;
  }

  /** Ends the version: calls under way and waiting are answered first. */
  async retire(): Promise<void> {
    await this.queue.idle();
    await this.engine.release();
  }
}

function batcherOf({ name, engine, maxQueueSize }: ServedModelParts, policy: BatchPolicy): Batcher {
  return new Batcher({
    model: name,
    policy,
    slots: engineSlots,
    limit: maxQueueSize,
    run: (inputs, outputNames) =>
      engine.runNow(inputs, outputNames) ?? engine.run(inputs, outputNames),
    now: () => performance.now(),
    atTurnEnd,
    after(ms, action) {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
  });
}

/** After all sockets that had something to read were read. */
function atTurnEnd(action: () => void): void {
  setImmediate(action);
}

function toNs(ms: number): number {
  return Math.round(ms * 1e6);
}
