import type { ModelConfig } from "../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest, InferResponse } from "../rpc/infer-messages.ts";
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
  readonly queue: CallQueue;
  readonly maxQueueSize: number;
  readonly statistics = new ModelStatistics();
  readonly #observer: CallObserver;

  constructor(parts: ServedModelParts) {
    this.name = parts.name;
    this.version = parts.version;
    this.config = parts.config;
    this.signature = parts.signature;
    this.engine = parts.engine;
    this.maxQueueSize = parts.maxQueueSize;
    this.queue = new CallQueue(parts.name, engineSlots, parts.maxQueueSize);
    this.#observer = parts.observer;
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
      if (this.queue.isIdle && !call.aborted) {
        const result = this.engine.runNow(decoded.inputs, decoded.outputNames);
        if (result) return this.#answer(request.id, decoded, result, arrived, queued, queued);
      }
      return this.#inferQueued(request.id, decoded, call, arrived, queued);
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
      const result = await this.queue.run(call, () => {
        started = performance.now();
        return this.engine.run(decoded.inputs, decoded.outputNames);
      });
      return this.#answer(id, decoded, result, arrived, queued, started);
    } catch (thrown) {
      throw this.#failed(thrown, arrived);
    }
  }

  /** @param started - when the engine was given the call; the times before are of its waiting */
  #answer(
    id: string,
    decoded: DecodedRequest,
    result: EngineResult,
    arrived: number,
    queued: number,
    started: number,
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
    this.statistics.succeed(decoded.rows, totalNs, queueNs, {
      // The way to a worker and back counts as input, for it is the input's copy that costs.
      inputNs: toNs(queued - arrived) + Math.max(toNs(computed - started) - result.inferNs, 0),
      inferNs: result.inferNs,
      outputNs: toNs(ended - computed),
    });
    this.#observer(this, "success", totalNs, queueNs, result.inferNs);
    return {
      modelName: this.name,
      modelVersion: this.version,
      id,
      outputs: encoded.outputs,
      rawOutputContents: encoded.rawOutputContents,
    };
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

function toNs(ms: number): number {
  return Math.round(ms * 1e6);
}
