import type { ModelConfig } from "../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import { decoupledNeedsStream } from "../errors/model-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallTrace } from "../observability/call-trace.ts";
import type { ModelTraces } from "../observability/trace-control.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest, InferResponse } from "../rpc/infer-messages.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Repeats } from "./cache/repeats.ts";
import { type CallOptions, noOptions, readCallOptions } from "./call-options.ts";
import { answeredStamps, failedStamps } from "./call-stamps.ts";
import { checkTensors } from "./check-tensors.ts";
import { classify } from "./classification.ts";
import { type DecodedRequest, decodeRequest } from "./decode-request.ts";
import { toNs } from "./duration.ts";
import { encodeOutputs } from "./encode-response.ts";
import type { Execution, Executor, TensorCall } from "./executor.ts";
import { parameterValue } from "./infer-parameter.ts";
import type { ExecutionTimes, ModelStatistics } from "./model-statistics.ts";
import type { ModelSignature } from "./signature.ts";

/** What a version is made of. */
export interface ServedModelParts {
  readonly name: string;
  readonly version: string;
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly executor: Executor;
  /** Whether equal calls have equal answers. */
  readonly repeats: Repeats;
  /** Whether the reserved request parameters (priority, timeout, sequence) mean anything to the model. */
  readonly readsOptions: boolean;
  /** Calls that may wait at once. */
  readonly maxQueueSize: number;
  readonly observer: CallObserver;
  readonly traces: ModelTraces;
  readonly statistics: ModelStatistics;
}

/**
 * Told of every call that ended, for histograms; times in ns. One that is `cached` had no run of its own, and
 * the times of its run are 0, as are those of one that failed.
 */
export type CallObserver = (
  model: ServedModel,
  outcome: "success" | "cached" | "fail",
  totalNs: number,
  queueNs: number,
  times: ExecutionTimes,
) => void;

const noTimes: ExecutionTimes = { inputNs: 0, inferNs: 0, outputNs: 0 };

/** Versions that were loaded so far. */
let loads = 0;

/** Requests of one stream that a model has under way at once. */
const mostOfStream = 64;

/** A loaded model version that answers calls. */
export class ServedModel {
  readonly name: string;
  readonly version: string;
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly executor: Executor;
  readonly maxQueueSize: number;
  readonly repeats: Repeats;
  /** Number of this load: no two are the same, also of one version. */
  readonly #load = ++loads;
  readonly statistics: ModelStatistics;
  readonly #readsOptions: boolean;
  readonly #observer: CallObserver;
  readonly #traces: ModelTraces;

  constructor(parts: ServedModelParts) {
    this.name = parts.name;
    this.version = parts.version;
    this.config = parts.config;
    this.signature = parts.signature;
    this.executor = parts.executor;
    this.maxQueueSize = parts.maxQueueSize;
    this.repeats = parts.repeats;
    this.statistics = parts.statistics;
    this.#readsOptions = parts.readsOptions;
    this.#observer = parts.observer;
    this.#traces = parts.traces;
  }

  /**
   * Requests of one stream that it has under way at most. The first call of a sequence may wait for the last call of
   * another, which has to be read, while its answer holds up those behind it: so many as may wait for the model.
   */
  get mostOfStream(): number {
    const sequences = this.config.schedulingChoice.case === "sequenceBatching";
    return sequences ? Math.max(mostOfStream, this.maxQueueSize) : mostOfStream;
  }

  /** True if a call may have any number of answers, and so needs a stream. */
  get decoupled(): boolean {
    return this.executor.stream !== undefined;
  }

  /**
   * A text that changes whenever answers may: with each load, and with each load of a model that this one is
   * made of.
   *
   * @throws TensorwireError if one of those is not loaded
   */
  get identity(): string {
    return `${this.#load}(${this.executor.identity?.() ?? ""})`;
  }

  /**
   * Answers a request: before it returns, if the executor can.
   *
   * @throws TensorwireError what {@link decodeRequest} and the executor throw; `DECOUPLED_NEEDS_STREAM`
   */
  infer(request: InferRequest, call: CallAbort): InferResponse | Promise<InferResponse> {
    const arrived = performance.now();
    const trace = this.#traces.sampler?.begin(this, request.id);
    try {
      if (this.decoupled) throw decoupledNeedsStream(this.name);
      const decoded = decodeRequest(this.name, this.signature, request);
      const queued = performance.now();
      const result = this.executor.execute(call, this.#tensorCall(decoded, request, trace));
      return result instanceof Promise
        ? this.#answerLater(request.id, decoded, result, arrived, queued, trace)
        : this.#answer(request.id, decoded, result, arrived, queued, trace);
    } catch (thrown) {
      throw this.#failed(thrown, arrived, trace);
    }
  }

  /**
   * Answers a request of a stream. Each answer of a decoupled model carries `triton_final_response` false,
   * and an empty one with true comes last if the request has `triton_enable_empty_final_response`; the one
   * answer of another model carries true.
   *
   * @throws TensorwireError as {@link infer} does
   */
  async *stream(request: InferRequest, call: CallAbort): AsyncGenerator<InferResponse> {
    const { executor } = this;
    if (!executor.stream) {
      yield { ...(await this.infer(request, call)), parameters: finalParameter(true) };
      return;
    }
    const arrived = performance.now();
    const trace = this.#traces.sampler?.begin(this, request.id);
    let inferNs = 0;
    try {
      const decoded = decodeRequest(this.name, this.signature, request);
      const queued = performance.now();
      let started = queued;
      for await (const result of executor.stream(call, this.#tensorCall(decoded, request, trace))) {
        if (inferNs === 0) started = result.startedMs;
        inferNs += result.inferNs;
        yield {
          ...this.#encode(request.id, decoded, result.outputs),
          parameters: finalParameter(false),
        };
      }
      const queueNs = toNs(started - queued);
      const times = { inputNs: toNs(queued - arrived), inferNs, outputNs: 0 };
      const ended = performance.now();
      const totalNs = toNs(ended - arrived);
      this.statistics.succeed(decoded.rows, totalNs, queueNs, times);
      this.statistics.executed(decoded.rows, times);
      this.#observer(this, "success", totalNs, queueNs, times);
      trace?.end(answeredStamps({ startedMs: started, inferNs }, arrived, queued, ended, ended));
    } catch (thrown) {
      throw this.#failed(thrown, arrived, trace);
    }
    if (parameterValue(request.parameters, "triton_enable_empty_final_response") === true) {
      const { name, version } = this;
      const parameters = finalParameter(true);
      yield { modelName: name, modelVersion: version, id: request.id, parameters };
    }
  }

  /**
   * Computes a call of another model of this process: tensors go by reference.
   *
   * @param parent - trace of the call that this one is made for, if there is one
   * @throws TensorwireError what {@link checkTensors} and the executor throw
   */
  async compute(
    inputs: readonly Tensor[],
    outputNames: readonly string[],
    call: CallAbort,
    options: CallOptions = noOptions,
    parent?: CallTrace,
  ): Promise<readonly Tensor[]> {
    const arrived = performance.now();
    const trace = parent?.child(this);
    try {
      if (this.decoupled) throw decoupledNeedsStream(this.name);
      const rows = checkTensors(this.name, this.signature, inputs, outputNames);
      const tensors = { inputs, outputNames, rows, options, trace };
      const result = await this.executor.execute(call, tensors);
      this.#count(rows, result, arrived, arrived, performance.now(), trace);
      return result.outputs;
    } catch (thrown) {
      throw this.#failed(thrown, arrived, trace);
    }
  }

  #tensorCall(
    decoded: DecodedRequest,
    { parameters }: InferRequest,
    trace: CallTrace | undefined,
  ): TensorCall {
    const { inputs, outputNames, rows } = decoded;
    const options = this.#readsOptions ? readCallOptions(parameters) : noOptions;
    return { inputs, outputNames, rows, options, trace };
  }

  async #answerLater(
    id: string,
    decoded: DecodedRequest,
    result: Promise<Execution>,
    arrived: number,
    queued: number,
    trace: CallTrace | undefined,
  ): Promise<InferResponse> {
    try {
      return this.#answer(id, decoded, await result, arrived, queued, trace);
    } catch (thrown) {
      throw this.#failed(thrown, arrived, trace);
    }
  }

  /**
   * @param arrived - when the request came
   * @param queued - when it was decoded
   */
  #answer(
    id: string,
    decoded: DecodedRequest,
    result: Execution,
    arrived: number,
    queued: number,
    trace: CallTrace | undefined,
  ): InferResponse {
    const computed = performance.now();
    const response = this.#encode(id, decoded, result.outputs);
    this.#count(decoded.rows, result, arrived, queued, computed, trace);
    return response;
  }

  #encode(id: string, decoded: DecodedRequest, outputs: readonly Tensor[]): InferResponse {
    const shown = outputs.map((tensor, index) => {
      const { classes, labels } = decoded.outputs[index]!;
      return classes > 0 ? classify(tensor, classes, labels) : tensor;
    });
    const encoded = encodeOutputs(shown, decoded.form);
    return {
      modelName: this.name,
      modelVersion: this.version,
      id,
      outputs: encoded.outputs,
      rawOutputContents: encoded.rawOutputContents,
    };
  }

  #count(
    rows: number,
    result: Execution,
    arrived: number,
    queued: number,
    computed: number,
    trace: CallTrace | undefined,
  ): void {
    const { startedMs, inferNs, runRows, fromCache } = result;
    const ended = performance.now();
    trace?.end(answeredStamps(result, arrived, queued, computed, ended));
    const totalNs = toNs(ended - arrived);
    const queueNs = toNs(startedMs - queued);
    if (fromCache) {
      this.statistics.succeedFromCache(totalNs, queueNs);
      this.#observer(this, "cached", totalNs, queueNs, noTimes);
      return;
    }
    const times = {
      // The way to a worker and back counts as input, for it is the input's copy that costs.
      inputNs: toNs(queued - arrived) + Math.max(toNs(computed - startedMs) - inferNs, 0),
      inferNs,
      outputNs: toNs(ended - computed),
    };
    this.statistics.succeed(rows, totalNs, queueNs, times);
    if (runRows > 0) this.statistics.executed(runRows, times);
    this.#observer(this, "success", totalNs, queueNs, times);
  }

  #failed(thrown: unknown, arrived: number, trace: CallTrace | undefined): TensorwireError {
    const error = fromUnknown(thrown);
    const ended = performance.now();
    const totalNs = toNs(ended - arrived);
    this.statistics.failed(error.reason, totalNs);
    this.#observer(this, "fail", totalNs, 0, noTimes);
    trace?.end(failedStamps(arrived, ended));
    return error;
  }

  /** Ends the version: calls under way and waiting are answered first. */
  async retire(): Promise<void> {
    await this.executor.idle();
    await this.executor.release();
  }
}

function finalParameter(final: boolean): InferResponse["parameters"] {
  return {
    triton_final_response: { parameterChoice: { case: "boolParam", value: final } },
  };
}
