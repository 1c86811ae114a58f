import type { Client } from "@connectrpc/connect";
import type {
  GRPCInferenceService,
  ModelInferRequest,
  ModelStreamInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { errorDomain, TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import type { CallOptions, InferRequestOptions } from "./client-options.ts";
import { type InferInputs, inferRequest } from "./infer-request.ts";
import { type InferResult, inferResult } from "./infer-result.ts";
import { InferenceError, inferenceError } from "./inference-error.ts";
import { type CallSettings, callError, callTimeout, deadlinePassed, wholeMs } from "./run-call.ts";

/** An inference to send over a stream. */
export interface StreamRequest extends InferRequestOptions {
  readonly model: string;
  readonly inputs: InferInputs;
}

/** Answer to one inference of a stream: a result or an error. */
export type StreamAnswer =
  | {
      readonly result: InferResult;
      readonly error?: undefined;
      /** Id of the request, "" if it had none. */
      readonly id: string;
    }
  | { readonly result?: undefined; readonly error: InferenceError; readonly id: string };

/** Runs ModelStreamInfer; see `TensorwireClient.inferStream`. */
export async function* inferStream(
  rpc: Client<typeof GRPCInferenceService>,
  settings: CallSettings,
  streams: "both-ways" | "answers-only",
  requests: AsyncIterable<StreamRequest> | Iterable<StreamRequest>,
  options: CallOptions = {},
): AsyncGenerator<StreamAnswer, void, undefined> {
  if (streams === "answers-only") {
    throw new InferenceError(
      "gRPC-Web and browsers cannot stream requests; use infer, or the Node client with protocol grpc or connect",
      { code: "UNIMPLEMENTED", reason: "RPC_UNSUPPORTED", domain: errorDomain },
    );
  }
  const timeoutMs = callTimeout(settings, options);
  if (timeoutMs !== undefined && timeoutMs <= 0) throw deadlinePassed(timeoutMs);
  // Connect gives no way to leave a stream early, so leaving cancels it by this signal.
  const leave = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal;
  // What the caller's iterable throws must come out as it is, not as a failed call.
  const source: { failure?: { readonly thrown: unknown } } = {};
  try {
    const answers = rpc.modelStreamInfer(encode(requests, source), {
      timeoutMs: wholeMs(timeoutMs),
      signal,
      headers: options.headers,
    });
    for await (const answer of answers) yield decode(answer);
  } catch (thrown) {
    if (source.failure) throw source.failure.thrown;
    throw callError(thrown, settings, timeoutMs);
  } finally {
    leave.abort();
  }
}

async function* encode(
  requests: AsyncIterable<StreamRequest> | Iterable<StreamRequest>,
  source: { failure?: { readonly thrown: unknown } },
): AsyncGenerator<ModelInferRequest> {
  try {
    for await (const request of requests) {
      yield inferRequest(request.model, request.inputs, request);
    }
  } catch (thrown) {
    source.failure = {
      thrown: thrown instanceof TensorwireError ? inferenceError(thrown) : thrown,
    };
    throw thrown;
  }
}

function decode({ errorMessage, inferResponse }: ModelStreamInferResponse): StreamAnswer {
  const id = inferResponse?.id ?? "";
  if (errorMessage !== "") {
    return { error: new InferenceError(errorMessage, { code: "UNKNOWN" }), id };
  }
  if (inferResponse === undefined) {
    const empty = new InferenceError("the server sent an answer with neither result nor error", {
      code: "INTERNAL",
    });
    return { error: empty, id };
  }
  return { result: inferResult(inferResponse), id };
}
