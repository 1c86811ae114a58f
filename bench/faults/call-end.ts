import { fromBinary } from "@bufbuild/protobuf";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { type Any, AnySchema, anyUnpack } from "@bufbuild/protobuf/wkt";
import { type ServiceError, status } from "@grpc/grpc-js";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/**
 * Why a call was not answered: the reason of docs/errors.md, or the gRPC code in small letters if the error
 * carries none, as `unavailable` of a connection that was lost.
 */
export function reasonOf(error: ServiceError): string {
  const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (details instanceof Buffer) {
    for (const detail of detailsOf(details)) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info) return info.reason;
    }
  }
  return status[error.code]?.toLowerCase() ?? `code ${error.code}`;
}

/** Field 3 of google.rpc.Status, which is not among the generated messages. */
function* detailsOf(bytes: Uint8Array): Generator<Any> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 3) yield fromBinary(AnySchema, reader.bytes());
    else reader.skip(type);
  }
}
