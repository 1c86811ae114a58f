import type { BareCall } from "../cases/bench-case.ts";

/** First line of a connection, as JSON: what each of the requests behind it is. */
export type BareCallHeader = Pick<BareCall, "model" | "inputs" | "outputs">;

/** The line that opens a connection. */
export function headerLine({ model, inputs, outputs }: BareCallHeader): Buffer {
  return Buffer.from(`${JSON.stringify({ model, inputs, outputs })}\n`);
}

/**
 * Splits the first bytes of a connection; `undefined` while the line is not whole.
 * @throws SyntaxError if it is no JSON
 */
export function readHeader(
  bytes: Buffer,
): { readonly header: BareCallHeader; readonly rest: Buffer } | undefined {
  const end = bytes.indexOf("\n");
  if (end === -1) return undefined;
  const header = JSON.parse(bytes.toString("utf8", 0, end)) as BareCallHeader;
  return { header, rest: bytes.subarray(end + 1) };
}
