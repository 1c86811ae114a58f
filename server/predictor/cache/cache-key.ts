import { createHash, hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Tensor } from "../../tensor/tensor.ts";
import type { TensorCall } from "../executor.ts";
import { reservedParameters } from "../reserved-parameters.ts";

/** Up to this size the parts of a key are put together and hashed in one call, which costs less. */
const oneCallBytes = 16 * 1024;
const scratch = Buffer.allocUnsafeSlow(oneCallBytes);

/**
 * Bytes that are hashed in one go, which takes half a millisecond to a millisecond: the thread of the sockets is
 * not held up for longer.
 */
const goBytes = 1024 * 1024;

/** Bytes of small parts that are hashed together. */
const gatheredBytes = 4 * 1024;

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
export function cacheKey(call: TensorCall, identity: string): string {
  const inputs = sortedInputs(call);
  const head = headOf(call, inputs, identity);
  let size = lengthBytes + head.byteLength;
  for (const tensor of inputs) size += contentBytes(tensor);
  if (size <= oneCallBytes) return hashOnce(head, inputs, size);
  const digest = new PartsDigest();
  for (const part of partsOf(head, inputs)) digest.add(part);
  return digest.end();
}

/** Whether the contents of a call are so large that its key is to be made by {@link cacheKeyLater}. */
export function isLarge({ inputs }: TensorCall): boolean {
  let size = 0;
  for (const tensor of inputs) size += contentBytes(tensor);
  return size > goBytes;
}

/** The same key, with turns of the event loop in between. */
export async function cacheKeyLater(call: TensorCall, identity: string): Promise<string> {
  const inputs = sortedInputs(call);
  const digest = new PartsDigest();
  let hashed = 0;
  for (const part of partsOf(headOf(call, inputs, identity), inputs)) {
    for (let at = 0; at < part.byteLength; at += goBytes) {
      if (hashed >= goBytes) {
        hashed = 0;
        await nextTurn();
      }
      const piece = part.subarray(at, at + goBytes);
      digest.add(piece);
      hashed += piece.byteLength;
    }
  }
  return digest.end();
}

/** A digest of parts that gathers small ones, as a call of the hash costs more than what it does for a few bytes. */
class PartsDigest {
  readonly #hash = createHash("sha256");
  readonly #gathered = Buffer.allocUnsafe(gatheredBytes);
  #at = 0;

  add(part: Uint8Array): void {
    if (this.#at + part.byteLength > gatheredBytes) this.#flush();
    if (part.byteLength > gatheredBytes) {
      this.#hash.update(part);
      return;
    }
    this.#gathered.set(part, this.#at);
    this.#at += part.byteLength;
  }

  end(): string {
    this.#flush();
    return this.#hash.digest("base64url");
  }

  #flush(): void {
    if (this.#at > 0) this.#hash.update(this.#gathered.subarray(0, this.#at));
    this.#at = 0;
  }
}

function sortedInputs({ inputs }: TensorCall): readonly Tensor[] {
  return inputs.length > 1 ? inputs.toSorted(byName) : inputs;
}

function headOf(
  { outputNames, options }: TensorCall,
  inputs: readonly Tensor[],
  identity: string,
): Buffer {
  return Buffer.from(
    JSON.stringify([
      identity,
      inputs.map(({ name, datatype, shape, bytes, elements }) => [
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

/** Everything that is hashed, in order. A length is good until the next part is asked for. */
function* partsOf(head: Buffer, inputs: readonly Tensor[]): Generator<Uint8Array> {
  const length = Buffer.allocUnsafe(lengthBytes);
  length.writeUInt32LE(head.byteLength);
  yield length;
  yield head;
  for (const { bytes, elements } of inputs) {
    if (bytes) {
      yield bytes;
      continue;
    }
    for (const element of elements) {
      length.writeUInt32LE(element.byteLength);
      yield length;
      yield element;
    }
  }
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
