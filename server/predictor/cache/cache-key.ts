import { createHash, hash } from "node:crypto";
import type { Tensor } from "../../tensor/tensor.ts";
import type { TensorCall } from "../executor.ts";
import { reservedParameters } from "../reserved-parameters.ts";

/** Up to this size the parts of a key are put together and hashed in one call, which costs less. */
const oneCallBytes = 16 * 1024;
const scratch = Buffer.allocUnsafeSlow(oneCallBytes);

/** Bytes of a length that stands before what it measures. */
const lengthBytes = 4;

/**
 * Key of the answer to a call: SHA-256 of everything that the model sees, so that calls with the same key are
 * the same call. That is the inputs, in any order, with datatype, shape and contents, the names of the outputs
 * in the order in which they are answered, and the parameters that are not reserved. What is done to outputs
 * behind the model, such as classification, is no part of it.
 *
 * @param identity - what the answers depend on besides; see `Executor.identity`
 */
export function cacheKey({ inputs, outputNames, options }: TensorCall, identity: string): string {
  const sorted = inputs.length > 1 ? inputs.toSorted(byName) : inputs;
  const head = Buffer.from(
    JSON.stringify([
      identity,
      sorted.map(({ name, datatype, shape, bytes, elements }) => [
        name,
        datatype,
        shape,
        // How many bytes or elements follow: with it, no two lists of contents join to the same bytes.
        bytes ? bytes.byteLength : elements.length,
      ]),
      outputNames,
      parametersOf(options.parameters),
    ]),
  );
  let size = lengthBytes + head.byteLength;
  for (const tensor of sorted) size += contentBytes(tensor);
  return size <= oneCallBytes ? hashOnce(head, sorted, size) : hashInParts(head, sorted);
}

type Parameters = TensorCall["options"]["parameters"];

/** Parameters by name, each with the type of its value: 1 as an integer is not 1 as a double. */
function parametersOf(parameters: Parameters): string[][] {
  const seen: string[][] = [];
  for (const name in parameters) {
    const value = parameters[name]?.parameterChoice.value;
    if (value === undefined || reservedParameters.has(name)) continue;
    seen.push([name, typeof value, Object.is(value, -0) ? "-0" : String(value)]);
  }
  return seen.length > 1 ? seen.sort(([a], [b]) => (a! < b! ? -1 : 1)) : seen;
}

function hashOnce(head: Buffer, inputs: readonly Tensor[], size: number): string {
  let at = scratch.writeUInt32LE(head.byteLength, 0);
  scratch.set(head, at);
  at += head.byteLength;
  for (const { bytes, elements } of inputs) {
    if (bytes) {
      scratch.set(bytes, at);
      at += bytes.byteLength;
    } else {
      for (const element of elements) {
        at = scratch.writeUInt32LE(element.byteLength, at);
        scratch.set(element, at);
        at += element.byteLength;
      }
    }
  }
  return hash("sha256", scratch.subarray(0, size), "base64url");
}

function hashInParts(head: Buffer, inputs: readonly Tensor[]): string {
  const digest = createHash("sha256");
  const length = Buffer.allocUnsafe(lengthBytes);
  const withLength = (part: Uint8Array): void => {
    length.writeUInt32LE(part.byteLength);
    digest.update(length).update(part);
  };
  withLength(head);
  for (const { bytes, elements } of inputs) {
    if (bytes) digest.update(bytes);
    else for (const element of elements) withLength(element);
  }
  return digest.digest("base64url");
}

function contentBytes({ bytes, elements }: Tensor): number {
  if (bytes) return bytes.byteLength;
  let size = 0;
  for (const element of elements) size += lengthBytes + element.byteLength;
  return size;
}

function byName(a: Tensor, b: Tensor): number {
  return a.name < b.name ? -1 : 1;
}
