import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { messageMalformed, messageTooLarge } from "../errors/message-errors.ts";
import { type DescribeError, toConnectError } from "./connect-errors.ts";

type Compression = typeof compressionGzip;

/** The compressions of messages that are taken, and given to callers that ask. */
export function messageCompressions(
  maxMessageBytes: number,
  describe: DescribeError = toConnectError,
): Compression[] {
  return [compressionGzip, compressionBrotli].map((compression) =>
    withClearErrors(compression, maxMessageBytes, describe),
  );
}

function withClearErrors(
  compression: Compression,
  maxMessageBytes: number,
  describe: DescribeError,
): Compression {
  return {
    name: compression.name,
    compress: (bytes) => compression.compress(bytes),
    async decompress(bytes, readMaxBytes) {
      try {
        return await compression.decompress(bytes, readMaxBytes);
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        throw describe(
          error.code === Code.ResourceExhausted
            ? messageTooLarge(undefined, maxMessageBytes)
            : messageMalformed(`its bytes are not ${compression.name}`, error),
        );
      }
    },
  };
}
