import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { errorDomain, type TensorwireError } from "./tensorwire-error.ts";

/** The error as Connect, gRPC and gRPC-Web send it. */
export function toConnectError(error: TensorwireError): ConnectError {
  const { reason, metadata } = error;
  // Variables come from callers, and what is no Unicode text cannot be sent.
  const texts = Object.entries(metadata).map(([key, value]) => [key, value.toWellFormed()]);
  const converted = new ConnectError(error.message.toWellFormed(), error.code, undefined, [
    {
      desc: ErrorInfoSchema,
      value: { reason, domain: errorDomain, metadata: Object.fromEntries(texts) },
    },
  ]);
  const { retryAfterMs } = metadata;
  const comesBack =
    converted.code === Code.Unavailable || converted.code === Code.ResourceExhausted;
  if (retryAfterMs !== undefined && comesBack) {
    const ms = Number(retryAfterMs);
    converted.details.push({
      desc: RetryInfoSchema,
      value: { retryDelay: { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 } },
    });
  }
  return converted;
}
