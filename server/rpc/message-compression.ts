import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { messageMalformed, messageTooLarge } from "../errors/message-errors.ts";
import { messageCompressions } from "../wire/message-compressions.ts";
import { type DescribeError, toConnectError } from "./connect-errors.ts";

/**
 * The compressions of messages that are taken, in the order in which callers are told of them.
 *
 * @param compressions - default all of them
 */
export function acceptedCompressions(
  maxMessageBytes: number,
  describe: DescribeError = toConnectError,
  compressions: readonly Compression[] = messageCompressions,
): Compression[] {
  return compressions.map((compression) => withClearErrors(compression, maxMessageBytes, describe));
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
