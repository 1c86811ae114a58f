import { readFileSync } from "node:fs";
import type { Datatype } from "../../server/tensor/datatype.ts";

/** A tensor of test/fixtures/expected.json. */
export interface ExpectedTensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Raw contents as the protocol sends them. */
  readonly raw: Buffer;
}

/** An input of a fixture and what ONNX Runtime in Python answers to it. */
export interface Expectation {
  readonly model: string;
  readonly inputs: ReadonlyMap<string, ExpectedTensor>;
  readonly outputs: ReadonlyMap<string, ExpectedTensor>;
}

type Stored = Record<string, { datatype: Datatype; shape: number[]; raw: string }>;

/** Reads test/fixtures/expected.json. */
export function readExpectations(): Expectation[] {
  const file = new URL("../fixtures/expected.json", import.meta.url);
  const stored = JSON.parse(readFileSync(file, "utf8")) as Record<
    string,
    { inputs: Stored; outputs: Stored }
  >;
  const tensors = (named: Stored) =>
    new Map(
      Object.entries(named).map(([name, { datatype, shape, raw }]) => [
        name,
        { datatype, shape, raw: Buffer.from(raw, "base64") },
      ]),
    );
  return Object.entries(stored).map(([model, { inputs, outputs }]) => ({
    model,
    inputs: tensors(inputs),
    outputs: tensors(outputs),
  }));
}

/**
 * Whether contents equal those expected: bit by bit, but floats of 32 bits to 1e-5, for two builds of
 * a runtime may sum in another order.
 */
export function sameContents(datatype: Datatype, given: Uint8Array, expected: Uint8Array): boolean {
  if (given.byteLength !== expected.byteLength) return false;
  if (datatype !== "FP32") return Buffer.from(given).equals(Buffer.from(expected));
  const a = new Float32Array(new Uint8Array(given).buffer);
  const b = new Float32Array(new Uint8Array(expected).buffer);
  return a.every(
    (value, index) => Object.is(value, b[index]) || Math.abs(value - b[index]!) <= 1e-5,
  );
}
