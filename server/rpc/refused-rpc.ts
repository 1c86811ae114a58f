import { Code, type ConnectError } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import { challengeOf } from "./challenge.ts";
import { type DescribeError, toConnectError } from "./connect-errors.ts";

const encoder = new TextEncoder();
/** Flags of the last envelope of a gRPC-Web and of a Connect stream. */
const grpcWebTrailerFlag = 0x80;
const connectEndFlag = 0x02;

/**
 * Answers an RPC before it reaches a service, in the protocol in which it came.
 *
 * @param header - of the request
 * @returns `undefined` if the request is no RPC
 */
export function refusedRpc(
  header: Headers,
  error: TensorwireError,
  describe: DescribeError = toConnectError,
): UniversalServerResponse | undefined {
  const type = header.get("content-type") ?? "";
  const refusal = describe(error);
  if (type.startsWith("application/grpc-web")) {
    const trailers = encoder.encode(trailerText(refusal));
    return {
      status: 200,
      header: new Headers({ "content-type": type }),
      body: envelope(grpcWebTrailerFlag, trailers),
    };
  }
  if (type.startsWith("application/grpc")) {
    const answer = new Headers({ "content-type": type });
    setTrailerStatus(answer, refusal);
    return { status: 200, header: answer };
  }
  if (type.startsWith("application/connect+")) {
    const end = encoder.encode(JSON.stringify({ error: errorToJson(refusal, undefined) }));
    return {
      status: 200,
      header: new Headers({ "content-type": type }),
      body: envelope(connectEndFlag, end),
    };
  }
  if (header.has("connect-protocol-version") || type.startsWith("application/proto")) {
    const body = encoder.encode(JSON.stringify(errorToJson(refusal, undefined)));
    return {
      status: error.reason === "METHOD_UNKNOWN" ? 404 : connectStatus(refusal.code),
      header: new Headers({
        "content-type": "application/json",
        "content-length": String(body.byteLength),
        ...(refusal.code === Code.Unauthenticated
          ? { "www-authenticate": challengeOf(error) }
          : {}),
      }),
      body: once(body),
    };
  }
  return undefined;
}

function trailerText(refusal: ConnectError): string {
  const trailer = new Headers();
  setTrailerStatus(trailer, refusal);
  return new TextDecoder().decode(trailerSerialize(trailer));
}

/** HTTP status of a Connect error (https://connectrpc.com/docs/protocol#error-codes). */
function connectStatus(code: Code): number {
  switch (code) {
    case Code.Unimplemented:
      return 501;
    case Code.Unauthenticated:
      return 401;
    case Code.PermissionDenied:
      return 403;
    default:
      return 503;
  }
}

function envelope(flag: number, data: Uint8Array): AsyncIterable<Uint8Array> {
  const bytes = new Uint8Array(5 + data.byteLength);
  bytes[0] = flag;
  new DataView(bytes.buffer).setUint32(1, data.byteLength);
  bytes.set(data, 5);
  return once(bytes);
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
