import { promisify } from "node:util";
import {
  deflate,
  inflate,
  type ZlibOptions,
  type ZstdOptions,
  constants as zlib,
  zstdCompress,
  zstdDecompress,
} from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

export { compressionBrotli, compressionGzip };

/**
 * Largest window of a zstd frame that is taken, as a power of two: 8 MiB. A frame of a few bytes may ask
 * for 128 MiB otherwise (RFC 9659, section 3).
 */
export const zstdMaxWindowLog = 23;

/** Zstandard (RFC 8878), by node:zlib in its thread pool. */
export const compressionZstd: Compression = compressionOf<ZstdOptions>(
  "zstd",
  promisify(zstdCompress),
  promisify(zstdDecompress),
  { params: { [zlib.ZSTD_d_windowLogMax]: zstdMaxWindowLog } },
);

/** What HTTP and gRPC call deflate: the zlib format (RFC 1950), not the bare one (RFC 1951). */
export const compressionDeflate: Compression = compressionOf<ZlibOptions>(
  "deflate",
  promisify(deflate),
  promisify(inflate),
  {},
);

/** Every compression of messages that there is, those that other programs know best first. */
export const messageCompressions: readonly Compression[] = [
  compressionGzip,
  compressionBrotli,
  compressionZstd,
  compressionDeflate,
];

function compressionOf<Options extends object>(
  name: string,
  compress: (bytes: Uint8Array) => Promise<Buffer>,
  decompress: (bytes: Uint8Array, options: Options) => Promise<Buffer>,
  options: Options,
): Compression {
  return {
    name,
    compress: async (bytes) => ofArrayBuffer(await compress(bytes)),
    async decompress(bytes, readMaxBytes) {
      if (bytes.byteLength === 0) return new Uint8Array(0);
      try {
        return ofArrayBuffer(
          await decompress(bytes, { ...options, maxOutputLength: readMaxBytes }),
        );
      } catch (error) {
        const tooLong = (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
        throw new ConnectError(
          tooLong
            ? `message is larger than ${readMaxBytes} bytes after decompression`
            : `message is not ${name}`,
          tooLong ? Code.ResourceExhausted : Code.InvalidArgument,
          undefined,
          undefined,
          error,
        );
      }
    },
  };
}

function ofArrayBuffer(bytes: Buffer): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
    ? (bytes as Uint8Array<ArrayBuffer>)
    : new Uint8Array(bytes);
}
