import { create, type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  decodeModelInferRequest,
  decodeModelReadyRequest,
  decodeServerLiveRequest,
  decodeServerReadyRequest,
  encodeModelInferResponseParts,
  encodeModelReadyResponse,
  encodeServerLiveResponse,
  encodeServerReadyResponse,
} from "../../gen/inference/grpc_service_codec.ts";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { fromUnknown, messageOf } from "../errors/from-unknown.ts";
import { serverDraining } from "../errors/server-errors.ts";
import type { FastUnaryHandler, FastUnaryMethods, MessageParts } from "../wire/grpc/fast-unary.ts";
import type { AccessGate } from "./access-gate.ts";
import type { CallContext } from "./call-context.ts";
import type { CallMetrics, MethodMetrics } from "./call-metrics.ts";
import type { InternalErrorListener } from "./connect-errors.ts";
import type { DrainGate } from "./drain-gate.ts";
import type { InferenceBackend } from "./inference-backend.ts";
import { statusFields } from "./status-fields.ts";

/** Settings of {@link createFastInference}; the same as of the Connect host beside it. */
export interface FastInferenceOptions {
  readonly backend: InferenceBackend;
  /** Asks callers for credentials if it is there. */
  readonly access?: AccessGate | undefined;
  readonly gate: DrainGate;
  readonly metrics: CallMetrics;
  readonly maxMessageBytes: number;
  readonly maxTimeoutMs: number;
  readonly onInternalError: InternalErrorListener;
}

/** Between the bytes of a message and what a backend takes or gives. */
interface MessageCodec<I, O> {
  readonly decode: (bytes: Uint8Array) => I;
  readonly encode: (message: O) => MessageParts;
}

/**
 * Answers the unary methods of GRPCInferenceService from bytes to bytes, for callers of gRPC. What
 * they answer is what the Connect service of the same backend answers.
 */
export function createFastInference(options: FastInferenceOptions): FastUnaryMethods {
  const methods = new Map<string, FastUnaryHandler>();
  for (const [name, method] of Object.entries(GRPCInferenceService.method)) {
    if (method.methodKind !== "unary") continue;
    const answer = options.backend[name as keyof InferenceBackend] as Answer;
    methods.set(
      `/${GRPCInferenceService.typeName}/${method.name}`,
      handlerOf(method, answer, options),
    );
  }
  return {
    methods,
    maxMessageBytes: options.maxMessageBytes,
    maxTimeoutMs: options.maxTimeoutMs,
    admit: options.access?.admitFast,
    toStatus: (thrown, path) => {
      if (thrown instanceof ConnectError) return statusFields(thrown);
      const error = fromUnknown(thrown);
      if (error.reason === "INTERNAL") options.onInternalError(error, path.slice(1));
      return statusFields(error);
    },
  };
}

type Answer = (request: unknown, context: CallContext) => unknown;

function handlerOf(
  method: DescMethodUnary,
  answer: Answer,
  { gate, metrics, backend }: FastInferenceOptions,
): FastUnaryHandler {
  const counts = metrics.of(method);
  const codec = codecOf(method);
  return (bytes, call) => {
    if (gate.closed.aborted) throw serverDraining();
    const begun = counts.begun();
    const request = decode(codec, bytes, counts, begun);
    let answered: unknown;
    try {
      answered = answer.call(backend, request, call);
    } catch (error) {
      counts.failed(begun, codeName(error));
      throw error;
    }
    if (!(answered instanceof Promise)) {
      counts.succeeded(begun);
      return codec.encode(answered);
    }
    gate.enter();
    return answered.then(
      (message) => {
        gate.leave();
        counts.succeeded(begun);
        return codec.encode(message);
      },
      (error: unknown) => {
        gate.leave();
        counts.failed(begun, codeName(error));
        throw error;
      },
    );
  };
}

function decode<I>(
  codec: MessageCodec<I, unknown>,
  bytes: Uint8Array,
  counts: MethodMetrics,
  begun: number,
): I {
  try {
    return codec.decode(bytes);
  } catch (error) {
    counts.failed(begun, "Internal");
    // As Connect answers it.
    throw new ConnectError(`parse binary: ${messageOf(error)}`, Code.Internal);
  }
}

function codeName(thrown: unknown): string {
  return Code[thrown instanceof ConnectError ? thrown.code : fromUnknown(thrown).code];
}

/** Codecs of the calls that come often; the others go through protobuf-es. */
const generated: Readonly<Record<string, MessageCodec<unknown, never>>> = {
  ModelInfer: { decode: decodeModelInferRequest, encode: encodeModelInferResponseParts },
  ModelReady: { decode: decodeModelReadyRequest, encode: encodeModelReadyResponse },
  ServerLive: { decode: decodeServerLiveRequest, encode: encodeServerLiveResponse },
  ServerReady: { decode: decodeServerReadyRequest, encode: encodeServerReadyResponse },
};

function codecOf(method: DescMethodUnary): MessageCodec<unknown, unknown> {
  const codec = generated[method.name] as MessageCodec<unknown, unknown> | undefined;
  if (codec) return codec;
  return {
    decode: (bytes) => fromBinary(method.input, bytes),
    encode: (message) => toBinary(method.output, create(method.output, message as never)),
  };
}
