import { bytesElementMalformed } from "../errors/tensor-errors.ts";

const prefixSize = 4;

/**
 * Splits raw BYTES contents into elements: each is a 4-byte little-endian length and that many
 * bytes. The elements are views on `raw`.
 *
 * @param tensor - name for messages
 * @param raw - contents of raw_input_contents, or of a binary part of a REST body
 * @param count - elements that the shape asks for
 * @throws TensorwireError `BYTES_ELEMENT_MALFORMED` if a length points past the end or the number
 * of elements is not `count`
 */
export function splitBytesElements(tensor: string, raw: Uint8Array, count: number): Uint8Array[] {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const elements: Uint8Array[] = [];
  let offset = 0;
  while (offset < raw.byteLength) {
    const index = elements.length;
    if (index === count) {
      throw bytesElementMalformed(
        tensor,
        index,
        `the shape holds ${count} elements, and ${raw.byteLength - offset} bytes are left after them`,
      );
    }
    if (raw.byteLength - offset < prefixSize) {
      throw bytesElementMalformed(
        tensor,
        index,
        `its 4-byte length is cut short, ${raw.byteLength - offset} bytes are left`,
      );
    }
    const length = view.getUint32(offset, true);
    offset += prefixSize;
    if (length > raw.byteLength - offset) {
      throw bytesElementMalformed(
        tensor,
        index,
        `its length prefix says ${length} bytes, ${raw.byteLength - offset} are left`,
      );
    }
    elements.push(raw.subarray(offset, offset + length));
    offset += length;
  }
  if (elements.length !== count) {
    throw bytesElementMalformed(
      tensor,
      elements.length,
      `the contents end before it, the shape holds ${count} elements`,
    );
  }
  return elements;
}

/** Joins elements to raw BYTES contents, the inverse of {@link splitBytesElements}; copies. */
export function joinBytesElements(elements: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const element of elements) size += prefixSize + element.byteLength;
  const raw = new Uint8Array(size);
  const view = new DataView(raw.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.byteLength, true);
    offset += prefixSize;
    raw.set(element, offset);
    offset += element.byteLength;
  }
  return raw;
}
