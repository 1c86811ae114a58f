import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type ModelInferRequest,
  ModelInferRequestSchema,
  type ModelInferResponse,
} from "../../gen/inference/grpc_service_pb.ts";
import type { Random } from "../soak/random.ts";
import { lookupSize } from "./fault-models.ts";

/** A call whose right answer is known. */
export interface KnownCall {
  readonly model: string;
  readonly request: ModelInferRequest;
  /** Contents of the outputs, in their order; none for a call that must not be answered. */
  readonly answer: readonly Uint8Array[] | undefined;
}

/** Makes one with values of its own. */
export type MakeKnownCall = (random: Random) => KnownCall;

type Input = NonNullable<MessageInitShape<typeof ModelInferRequestSchema>["inputs"]>[number];

interface Contents {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

function knownCall(
  model: string,
  inputs: readonly Contents[],
  answer: readonly Uint8Array[] | undefined,
): KnownCall {
  const request = create(ModelInferRequestSchema, {
    modelName: model,
    inputs: inputs.map(
      ({ name, datatype, shape }): Input => ({ name, datatype, shape: shape.map(BigInt) }),
    ),
    rawInputContents: inputs.map(({ bytes }) => bytes),
  });
  return { model, request, answer };
}

const bytesOf = (array: Int32Array | BigInt64Array | Float32Array): Uint8Array =>
  new Uint8Array(array.buffer);

/** Sum and difference of 1 to 3 rows of 16 numbers. */
export const addSub: MakeKnownCall = (random) => {
  const rows = 1 + random.whole(3);
  const numbers = (): Int32Array =>
    Int32Array.from({ length: rows * 16 }, () => random.whole(2 ** 32));
  const [one, other] = [numbers(), numbers()];
  const tensor = (name: string, array: Int32Array): Contents => ({
    name,
    datatype: "INT32",
    shape: [rows, 16],
    bytes: bytesOf(array),
  });
  return knownCall(
    "add_sub",
    [tensor("INPUT0", one), tensor("INPUT1", other)],
    [
      bytesOf(one.map((value, index) => value + other[index]!)),
      bytesOf(one.map((value, index) => value - other[index]!)),
    ],
  );
};

/** Up to 200 KB, there and back. */
export const identity: MakeKnownCall = (random) => {
  const columns = 1 + random.whole(random.chance(0.2) ? 50_000 : 100);
  const bytes = bytesOf(Float32Array.from({ length: columns }, () => random.next()));
  return knownCall(
    "identity_fp32",
    [{ name: "x", datatype: "FP32", shape: [1, columns], bytes }],
    [bytes],
  );
};

/** A model that works for a while in its worker. */
export const slow: MakeKnownCall = (random) => {
  const rounds = BigInt64Array.of(BigInt(1 + random.whole(20)));
  return knownCall(
    "slow",
    [{ name: "rounds", datatype: "INT64", shape: [], bytes: bytesOf(rounds) }],
    [bytesOf(Float32Array.of(1))],
  );
};

function lookupOf(indices: BigInt64Array, answer: readonly Uint8Array[] | undefined): KnownCall {
  const bytes = bytesOf(indices);
  return knownCall(
    "lookup",
    [{ name: "x", datatype: "INT64", shape: [indices.length], bytes }],
    answer,
  );
}

/** Squares of 1 to 4 numbers from a table. */
export const lookup: MakeKnownCall = (random) => {
  const count = 1 + random.whole(4);
  const indices = BigInt64Array.from({ length: count }, () => BigInt(random.whole(lookupSize)));
  return lookupOf(indices, [bytesOf(indices.map((index) => index * index))]);
};

/** An index that the table does not have, so that the run fails, and with it what shares the run. */
export const badLookup: MakeKnownCall = () =>
  lookupOf(BigInt64Array.of(1n, BigInt(lookupSize)), undefined);

/** The double of a number, or what the model is told to do in its place. */
export const unruly =
  (order: string): MakeKnownCall =>
  (random) => {
    const x = Int32Array.of(random.whole(2 ** 30));
    const text = Buffer.from(order);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.byteLength);
    return knownCall(
      "unruly",
      [
        { name: "x", datatype: "INT32", shape: [1], bytes: bytesOf(x) },
        { name: "order", datatype: "BYTES", shape: [1], bytes: Buffer.concat([length, text]) },
      ],
      order === "" ? [bytesOf(x.map((value) => 2 * value))] : undefined,
    );
  };

/** Says what is wrong with an answer, or nothing. */
export function wrongOf(call: KnownCall, response: ModelInferResponse): string | undefined {
  const { model, answer } = call;
  if (!answer) return `${model} answered a call that has no answer`;
  const given = response.rawOutputContents;
  const same =
    given.length === answer.length &&
    answer.every((bytes, index) => Buffer.compare(bytes, given[index]!) === 0);
  return same ? undefined : `${model} answered with other contents than it should`;
}
