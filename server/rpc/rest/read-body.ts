import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate } from "node:zlib";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { messageOf } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";

const decompressors: Readonly<
  Record<string, (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>>
> = {
  gzip: promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
};

/**
 * Reads the body of a request whole, and decompresses it as Content-Encoding says.
 *
 * @param maxBytes - holds for what is sent and for what it decompresses to
 * @throws TensorwireError `REQUEST_TOO_LARGE`, `CONTENT_ENCODING_UNSUPPORTED`, `REQUEST_MALFORMED`
 */
export async function readBody(
  request: UniversalServerRequest,
  maxBytes: number,
): Promise<Uint8Array> {
  const declared = Number(request.header.get("content-length") ?? 0);
  if (declared > maxBytes) throw tooLarge(`${declared} bytes`, maxBytes);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body as AsyncIterable<Uint8Array>) {
    size += part.byteLength;
    if (size > maxBytes) throw tooLarge(`more than ${maxBytes} bytes`, maxBytes);
    parts.push(part);
  }
  const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts, size);
  const encoding = request.header.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding === "identity" || encoding === "") return bytes;
  const decompress = Object.hasOwn(decompressors, encoding) ? decompressors[encoding] : undefined;
  if (!decompress) {
    throw new TensorwireError(
      "CONTENT_ENCODING_UNSUPPORTED",
      `got content-encoding "${encoding}", expected one of ${Object.keys(decompressors).join(", ")}`,
      { given: encoding },
    );
  }
  try {
    return await decompress(bytes, { maxOutputLength: maxBytes });
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
}

function tooLarge(given: string, maxBytes: number): TensorwireError {
  return new TensorwireError(
    "REQUEST_TOO_LARGE",
    `got ${given}, the limit is ${maxBytes} bytes; send less, or raise --max-message-size`,
    { limitBytes: `${maxBytes}` },
  );
}
