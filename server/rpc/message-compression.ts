import { AsyncLocalStorage } from "node:async_hooks";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { messageMalformed, messageTooLarge } from "../errors/message-errors.ts";
import { messageCompressions } from "../wire/message-compressions.ts";
import type { RequestMemory } from "../wire/request-memory.ts";
import { type DescribeError, toConnectError } from "./connect-errors.ts";

/**
 * Memory of the request whose handler runs: Connect tells a compression nothing of the request that it is for,
 * and some bytes of one may become the largest message.
 */
export const decompressing: AsyncLocalStorage<RequestMemory> = new AsyncLocalStorage();

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
      const memory = decompressing.getStore();
      let message: Awaited<ReturnType<Compression["decompress"]>>;
      try {
        message = await compression.decompress(bytes, readMaxBytes);
      } catch (thrown) {
        const error = ConnectError.from(thrown);
        throw describe(
          error.code === Code.ResourceExhausted
            ? messageTooLarge(undefined, maxMessageBytes)
            : messageMalformed(`its bytes are not ${compression.name}`, error),
        );
      }
      const full = memory?.hold(memory.heldBytes + message.byteLength);
      if (full) throw describe(full);
      return message;
    },
  };
}
