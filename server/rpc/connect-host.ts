import type { Registry } from "@bufbuild/protobuf";
import { type ConnectRouter, createConnectRouter, type Interceptor } from "@connectrpc/connect";
import type {
  Compression,
  UniversalHandlerFn,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { memoryOf } from "../wire/request-memory.ts";
import { createErrorInterceptor, type DescribeError } from "./connect-errors.ts";
import { reencodeGrpcMessage } from "./grpc-message.ts";
import { acceptedCompressions, decompressing } from "./message-compression.ts";
import { refusedRpc } from "./refused-rpc.ts";
import { RequestGuard } from "./request-guard.ts";
import { boundTimeout } from "./request-timeout.ts";

/** Largest message that Connect can be told of: answers of this size and above would be compressed. */
const neverCompressBytes = 0xffffffff;

/** Settings of a {@link createConnectHost}. */
export interface ConnectHostOptions {
  /** Registers the services. */
  readonly routes: (router: ConnectRouter) => void;
  /** Largest request message, in bytes. */
  readonly maxMessageBytes: number;
  /** Longest deadline that a caller gets, in ms: a longer one is cut to it. */
  readonly maxTimeoutMs: number;
  /** Interceptors of all calls, outermost first; errors are converted inside of them. */
  readonly interceptors: readonly Interceptor[];
  /** Told of failures that are ours. */
  readonly onInternalError: (error: TensorwireError, method: string) => void;
  /** Types that messages in google.protobuf.Any may have when they are JSON. */
  readonly jsonRegistry?: Registry;
  /** Compressions of messages that are taken; default those of server/wire/message-compressions. */
  readonly compressions?: readonly Compression[];
  /** How errors are told to callers. Default: with google.rpc.ErrorInfo. */
  readonly describeError?: DescribeError;
  /** Answers what is no RPC. */
  readonly fallback: UniversalHandlerFn;
}

/** Hosts Connect services: gRPC, gRPC-Web and Connect on the paths of the services' methods. */
export function createConnectHost(options: ConnectHostOptions): UniversalHandlerFn {
  const compressions = acceptedCompressions(
    options.maxMessageBytes,
    options.describeError,
    options.compressions,
  );
  const router = createConnectRouter({
    acceptCompression: compressions,
    // Tensors hardly shrink, and compressing them costs more than sending them.
    compressMinBytes: neverCompressBytes,
    readMaxBytes: options.maxMessageBytes,
    ...(options.jsonRegistry ? { jsonOptions: { registry: options.jsonRegistry } } : {}),
    interceptors: [
      ...options.interceptors,
      createErrorInterceptor(options.onInternalError, options.describeError),
    ],
  });
  options.routes(router);
  const encodings = new Set(["identity", ...compressions.map(({ name }) => name)]);
  const handlers = new Map<string, UniversalHandlerFn>();
  for (const handler of router.handlers) handlers.set(handler.requestPath, handler);

  return async (request) => {
    const path = pathOf(request.url);
    const handler = handlers.get(path);
    if (!handler) {
      const refused = refusedRpc(request.header, unknownMethod(path), options.describeError);
      return refused ? withReadableMessage(refused) : options.fallback(request);
    }
    const encoding = request.header.get("grpc-encoding");
    if (encoding !== null && !encodings.has(encoding)) {
      const refused = refusedRpc(
        request.header,
        unknownEncoding(encoding, encodings),
        options.describeError,
      );
      if (refused) {
        // Connect leaves out the list that callers need to choose another.
        refused.header?.set("grpc-accept-encoding", [...encodings].join(","));
        return withReadableMessage(refused);
      }
    }
    const timeoutMs = boundTimeout(request.header, options.maxTimeoutMs);
    const guard = new RequestGuard(
      request,
      options.maxMessageBytes,
      timeoutMs,
      options.describeError,
    );
    try {
      // Connect refuses streams both ways over HTTP/1.1 by this version, though a caller can send all of its
      // requests there and take the answers afterwards.
      const guarded = { ...request, httpVersion: "2.0", body: guard };
      const response = isCompressed(request)
        ? await decompressing.run(memoryOf(request), handler, guarded)
        : await handler(guarded);
      return isGrpc(request) ? withReadableMessage(response) : response;
    } finally {
      guard.release();
    }
  };
}

/** Whether messages of a request may be compressed. */
function isCompressed({ header, method }: UniversalServerRequest): boolean {
  return (
    method === "GET" ||
    header.has("grpc-encoding") ||
    header.has("connect-content-encoding") ||
    header.has("content-encoding")
  );
}

/** Path of an absolute URL, without query; cheaper than parsing it all. */
export function pathOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("//") + 2);
  if (start === -1) return "/";
  const end = url.indexOf("?", start);
  return end === -1 ? url.slice(start) : url.slice(start, end);
}

function isGrpc({ header }: UniversalServerRequest): boolean {
  const type = header.get("content-type") ?? "";
  return type.startsWith("application/grpc") && !type.startsWith("application/grpc-web");
}

/** The status is complete when the body has ended, and stands in the header without a body. */
function withReadableMessage(response: UniversalServerResponse): UniversalServerResponse {
  const { header, body, trailer } = response;
  if (header) reencodeGrpcMessage(header);
  return body && trailer
    ? { ...response, body: endingWith(body, () => reencodeGrpcMessage(trailer)) }
    : response;
}

async function* endingWith(
  body: AsyncIterable<Uint8Array>,
  end: () => void,
): AsyncIterable<Uint8Array> {
  yield* body;
  end();
}

function unknownEncoding(given: string, known: ReadonlySet<string>): TensorwireError {
  return new TensorwireError(
    "CONTENT_ENCODING_UNSUPPORTED",
    `got grpc-encoding "${given}", expected one of ${[...known].join(", ")}`,
    { given },
  );
}

function unknownMethod(path: string): TensorwireError {
  return new TensorwireError(
    "METHOD_UNKNOWN",
    `${path} is not served; reflection lists the services that are`,
    { path },
  );
}
