import { Code } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";

const encoder = new TextEncoder();
/** Flag of the last envelope of a gRPC-Web answer, which holds the trailers. */
const trailerFlag = 0x80;

/** Answers a call of a service or method that is not served, in the protocol in which it came. */
export function unknownRpc(request: UniversalServerRequest, path: string): UniversalServerResponse {
  const message = `${path} is not served; reflection lists the services that are`;
  const type = request.header.get("content-type") ?? "";
  const status = {
    "grpc-status": String(Code.Unimplemented),
    "grpc-message": encodeURIComponent(message),
  };
  if (type.startsWith("application/grpc-web")) {
    const lines = Object.entries(status).map(([name, value]) => `${name}: ${value}\r\n`);
    const trailers = encoder.encode(lines.join(""));
    const envelope = new Uint8Array(5 + trailers.byteLength);
    envelope[0] = trailerFlag;
    new DataView(envelope.buffer).setUint32(1, trailers.byteLength);
    envelope.set(trailers, 5);
    return { status: 200, header: new Headers({ "content-type": type }), body: once(envelope) };
  }
  if (type.startsWith("application/grpc")) {
    return { status: 200, header: new Headers({ "content-type": type, ...status }) };
  }
  const body = encoder.encode(JSON.stringify({ code: "unimplemented", message }));
  return {
    status: 404,
    header: new Headers({ "content-type": "application/json" }),
    body: once(body),
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
