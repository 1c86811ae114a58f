import { joinBytesElements, splitBytesElements } from "./bytes-elements.ts";
import type { Datatype } from "./datatype.ts";
import { elementCount } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** A tensor in the form in which it crosses between threads: raw contents in memory of its own. */
export interface PackedTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Raw contents as on the wire: little-endian, BYTES with length prefixes. */
  readonly raw: Uint8Array;
}

/** From this size on contents are handed over; below, cloning them with the message is cheaper. */
const handOverBytes = 16 * 1024;

/**
 * Packs tensors for a message to another thread.
 *
 * @param own - whether the contents are the caller's to give away; if not they are copied once
 * @returns the packed tensors, and the buffers to name in the message's transfer list
 */
export function packTensors(
  tensors: readonly Tensor[],
  own: "owned" | "borrowed",
): { readonly packed: PackedTensor[]; readonly transfer: ArrayBuffer[] } {
  const transfer: ArrayBuffer[] = [];
  const packed = tensors.map(({ name, datatype, shape, bytes, elements }) => {
    let raw = elements ? joinBytesElements(elements) : bytes;
    const owned = elements !== undefined || own === "owned";
    // Shared memory stays where it is: both threads see it.
    if (raw.buffer instanceof SharedArrayBuffer) return { name, datatype, shape, raw };
    const alone = raw.byteLength === raw.buffer.byteLength;
    // A view is cloned with all of the buffer under it, so a part of one is always copied out.
    if (!owned || !alone) raw = new Uint8Array(raw);
    if (raw.byteLength >= handOverBytes && !transfer.includes(raw.buffer as ArrayBuffer)) {
      transfer.push(raw.buffer as ArrayBuffer);
    }
    return { name, datatype, shape, raw };
  });
  return { packed, transfer };
}

/** Unpacks a tensor that came from another thread; its contents are views on the message. */
export function unpackTensor({ name, datatype, shape, raw }: PackedTensor): Tensor {
  return datatype === "BYTES"
    ? { name, datatype, shape, elements: splitBytesElements(name, raw, elementCount(shape)) }
    : { name, datatype, shape, bytes: raw };
}
