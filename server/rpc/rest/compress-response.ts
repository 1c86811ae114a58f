import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { BodyParts, byteLengthOf } from "./json-response.ts";

/** Bodies up to this size gain nothing. */
const minBytes = 1024;

const compress = promisify(gzip);

/**
 * Compresses a JSON answer above 1 KiB with gzip, if its caller takes it. Other bodies stay as they
 * are: the contents of tensors hardly shrink.
 */
export async function compressResponse(
  request: UniversalServerRequest,
  response: UniversalServerResponse,
): Promise<UniversalServerResponse> {
  const { header, body } = response;
  if (!header || !(body instanceof BodyParts)) return response;
  if (header.get("content-type") !== "application/json") return response;
  if (byteLengthOf(body.parts) <= minBytes) return response;
  header.append("vary", "accept-encoding");
  if (request.method === "HEAD" || !acceptsGzip(request.header.get("accept-encoding")))
    return response;
  // The first level: higher ones take several times as long for digits that shrink little more.
  const compressed = await compress(Buffer.concat(body.parts), { level: constants.Z_BEST_SPEED });
  header.set("content-encoding", "gzip");
  header.set("content-length", String(compressed.byteLength));
  return { ...response, body: new BodyParts([compressed]) };
}

/** Whether Accept-Encoding names gzip, or `*`, with a weight above 0 (RFC 9110, section 12.5.3). */
export function acceptsGzip(acceptEncoding: string | null): boolean {
  if (acceptEncoding === null) return false;
  let any = false;
  for (const item of acceptEncoding.split(",")) {
    const [coding = "", ...parameters] = item.split(";");
    const name = coding.trim().toLowerCase();
    const weight = parameters.find((parameter) => /^\s*q\s*=/i.test(parameter));
    const wanted = weight === undefined || Number(weight.slice(weight.indexOf("=") + 1)) > 0;
    // A named coding counts more than the star.
    if (name === "gzip" || name === "x-gzip") return wanted;
    if (name === "*") any = wanted;
  }
  return any;
}
