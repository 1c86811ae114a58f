import type { Tensor } from "../../tensor/tensor.ts";

/**
 * Memory that an answer takes beside its contents, in bytes: its entry with key and links, a tensor with
 * its objects and its buffer, an element of BYTES. From the growth of a process with 200 000 answers of each kind, rounded up.
 */
const entryBytes = 512;
const tensorBytes = 512;
const elementBytes = 160;

/** Memory that an answer with these outputs takes when it is kept, in bytes. */
export function keptBytes(outputs: readonly Tensor[]): number {
  let bytes = entryBytes;
  for (const { bytes: contents, elements } of outputs) {
    bytes += tensorBytes;
    if (contents) bytes += contents.byteLength;
    else for (const element of elements) bytes += elementBytes + element.byteLength;
  }
  return bytes;
}

/**
 * Tensors that own their memory, all of it: a view on the rows of a batch, or on a message, would keep the
 * whole alive, or see it change. Those that own theirs already are not copied.
 */
export function ownTensors(tensors: readonly Tensor[]): readonly Tensor[] {
  return tensors.every(owns)
    ? tensors
    : tensors.map((tensor) => (owns(tensor) ? tensor : copyOf(tensor)));
}

/** Tensors with contents of their own, for a call that outlives the message that it came in. */
export function copyTensors(tensors: readonly Tensor[]): readonly Tensor[] {
  return tensors.map(copyOf);
}

function owns({ bytes }: Tensor): boolean {
  // Elements of BYTES lie in one buffer or another, and are small as a rule: they are always copied.
  if (!bytes) return false;
  const { buffer } = bytes;
  return bytes.byteLength === buffer.byteLength && buffer instanceof ArrayBuffer;
}

function copyOf(tensor: Tensor): Tensor {
  if (tensor.bytes) return { ...tensor, bytes: new Uint8Array(tensor.bytes) };
  let size = 0;
  for (const element of tensor.elements) size += element.byteLength;
  const joined = new Uint8Array(size);
  let offset = 0;
  const elements = tensor.elements.map((element) => {
    joined.set(element, offset);
    offset += element.byteLength;
    return joined.subarray(offset - element.byteLength, offset);
  });
  return { ...tensor, elements };
}
