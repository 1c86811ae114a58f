import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, constants as zlib, zstdDecompress } from "node:zlib";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { messageOf } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { zstdMaxWindowLog } from "../../wire/message-compressions.ts";
import { memoryOf, type RequestMemory } from "../../wire/request-memory.ts";

const unzstd = promisify(zstdDecompress);

const decompressors: Readonly<
  Record<string, (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>>
> = {
  gzip: promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
  zstd: (bytes, options) =>
    unzstd(bytes, { ...options, params: { [zlib.ZSTD_d_windowLogMax]: zstdMaxWindowLog } }),
};

/** Content-encodings of bodies that are read, as Accept-Encoding lists them. */
export const bodyEncodings = Object.keys(decompressors).join(", ");

/**
 * Reads the body of a request whole, and decompresses it as Content-Encoding says.
 *
 * @param maxBytes - holds for what is sent and for what it decompresses to
 * @throws TensorwireError `REQUEST_TOO_LARGE`, `CONNECTION_MEMORY_FULL`, `SERVER_MEMORY_FULL`,
 * `CONTENT_ENCODING_UNSUPPORTED`, `REQUEST_MALFORMED`
 */
export async function readBody(
  request: UniversalServerRequest,
  maxBytes: number,
): Promise<Uint8Array> {
  const declared = Number.parseInt(request.header.get("content-length") ?? "0", 10) || 0;
  if (declared > maxBytes) throw tooLarge(`${declared} bytes`, maxBytes);
  const encoding = request.header.get("content-encoding")?.trim().toLowerCase() ?? "";
  if (encoding === "" || encoding === "identity") return collect(request, declared, maxBytes);
  const decompress = Object.hasOwn(decompressors, encoding) ? decompressors[encoding] : undefined;
  if (!decompress) {
    throw new TensorwireError(
      "CONTENT_ENCODING_UNSUPPORTED",
      `got content-encoding "${encoding}", expected one of ${bodyEncodings}`,
      { given: encoding },
    );
  }
  const bytes = await collect(request, declared, maxBytes);
  let body: Buffer;
  try {
    body = await decompress(bytes, { maxOutputLength: maxBytes });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw tooLarge(`a body that decompresses to more than ${maxBytes} bytes`, maxBytes);
    }
    throw new TensorwireError(
      "REQUEST_MALFORMED",
      `the body is not ${encoding}: ${messageOf(error)}`,
      { encoding },
      { cause: error },
    );
  }
  hold(memoryOf(request), bytes.byteLength + body.byteLength);
  return body;
}

function hold(memory: RequestMemory, bytes: number): void {
  const full = memory.hold(bytes);
  if (full) throw full;
}

/**
 * Joins the parts of a body. A body of one part is a view on it; more are copied as they come, since
 * a peer that sends it byte by byte would have us keep an object for each.
 */
async function collect(
  request: UniversalServerRequest,
  declared: number,
  maxBytes: number,
): Promise<Uint8Array> {
  let first: Uint8Array | undefined;
  let joined: Uint8Array | undefined;
  let size = 0;
  const memory = memoryOf(request);
  for await (const part of request.body as AsyncIterable<Uint8Array>) {
    const before = size;
    size += part.byteLength;
    if (size > maxBytes) throw tooLarge(`more than ${maxBytes} bytes`, maxBytes);
    hold(memory, size);
    if (!first) {
      first = part;
      continue;
    }
    joined ??= withRoom(first, before, Math.max(size, declared));
    if (size > joined.byteLength) joined = withRoom(joined, before, Math.min(2 * size, maxBytes));
    joined.set(part, before);
  }
  return joined?.subarray(0, size) ?? first ?? new Uint8Array();
}

/** The first `size` bytes in memory of `capacity` bytes. */
function withRoom(bytes: Uint8Array, size: number, capacity: number): Uint8Array {
  // The rest is written before it is read.
  const copy = Buffer.allocUnsafeSlow(capacity);
  copy.set(bytes.subarray(0, size));
  return copy;
}

function tooLarge(given: string, maxBytes: number): TensorwireError {
  return new TensorwireError(
    "REQUEST_TOO_LARGE",
    `got ${given}, the limit is ${maxBytes} bytes; send less, or raise --max-message-size`,
    { limitBytes: `${maxBytes}` },
  );
}
