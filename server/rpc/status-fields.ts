import type { ConnectError } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import { toConnectError } from "./connect-errors.ts";
import { reencodeGrpcMessage } from "./grpc-message.ts";

/** The fields that tell a gRPC caller of an error: status, message and details. */
export function statusFields(error: TensorwireError | ConnectError): [string, string][] {
  const headers = new Headers();
  setTrailerStatus(headers, "reason" in error ? toConnectError(error) : error);
  reencodeGrpcMessage(headers);
  return [...headers];
}
