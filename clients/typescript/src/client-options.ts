import type { Interceptor } from "@connectrpc/connect";
import type { ParameterInput } from "./infer-parameter.ts";

/** Headers (gRPC metadata): what the constructor of `Headers` takes. */
// Not HeadersInit: that name exists only where the types of browsers are loaded.
export type HeadersInput = ConstructorParameters<typeof Headers>[0];

/** Options of every call. */
export interface CallOptions {
  /**
   * Time for the whole call in ms, tries again included; it travels to the server, which also stops
   * work at it. Default: that of the client, and without one no limit.
   */
  readonly timeoutMs?: number;
  /** Cancels the call, on the server as well. */
  readonly signal?: AbortSignal;
  /** Headers (gRPC metadata) of this call, beside those of the client. */
  readonly headers?: HeadersInput;
}

/** An output to answer with. */
export interface RequestedOutput {
  readonly name: string;
  /**
   * Asks for the labels of the highest `n` scores instead of the tensor: a BYTES output of
   * `score:index[:label]`.
   */
  readonly classification?: number;
  readonly parameters?: Readonly<Record<string, ParameterInput>>;
}

/** What an inference may say beside its inputs. */
export interface InferRequestOptions {
  /** Version of the model; the server's newest (by its version policy) without it. */
  readonly modelVersion?: string;
  /** Comes back in the answer and stands in logs. */
  readonly id?: string;
  readonly parameters?: Readonly<Record<string, ParameterInput>>;
  /** Outputs to answer with; all without it. */
  readonly outputs?: readonly (string | RequestedOutput)[];
}

/** Options of `infer`. */
export interface InferOptions extends CallOptions, InferRequestOptions {}

/**
 * When to try again. Metadata and health calls are tried again on UNAVAILABLE. An inference, a load
 * and an unload are tried again only where it is certain that the server did not process them: no
 * connection came about, or Tensorwire refused with `SERVER_DRAINING`, `QUEUE_FULL` or
 * `MODEL_NOT_READY`. Streams are never tried again. The deadline covers all tries.
 */
export interface RetryOptions {
  /** Tries in all, the first included. Default 4; 1 turns retries off. */
  readonly attempts?: number;
  /** Longest wait after the first failure in ms; it doubles with each further one. Default 100. */
  readonly initialDelayMs?: number;
  /** Longest wait in ms, unless the server asks for more. Default 2000. */
  readonly maxDelayMs?: number;
}

/** A value, or a function that is asked for it before each try of a call. */
export type Provided<T> = T | (() => T | Promise<T>);

/** Options that the Node and the browser client share. */
export interface ClientOptions {
  /** Default of {@link CallOptions.timeoutMs}. */
  readonly timeoutMs?: number;
  /** Headers (gRPC metadata) of every call. */
  readonly headers?: Provided<HeadersInput>;
  /** Sent as `authorization: Bearer <token>`. */
  readonly token?: Provided<string>;
  readonly retry?: RetryOptions;
  /** Connect interceptors, for tracing and the like; the first sees a call first. */
  readonly interceptors?: readonly Interceptor[];
}
