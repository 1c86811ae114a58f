import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import fc from "fast-check";
import { InferTensorContentsSchema } from "../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { inferContentsMessage } from "../../server/rpc/infer-messages.ts";
import {
  contentsHoldElements,
  decodeContents,
  encodeContents,
  hasContentsField,
} from "../../server/tensor/contents.ts";
import { type Datatype, datatypes, elementSize } from "../../server/tensor/datatype.ts";
import type { Tensor } from "../../server/tensor/tensor.ts";

const typed = datatypes.filter(hasContentsField);

/** Tensors with any bit pattern; BOOL holds 0 and 1. */
const tensors: fc.Arbitrary<Tensor> = fc.constantFrom(...typed).chain((datatype) =>
  fc.nat(8).chain((count): fc.Arbitrary<Tensor> => {
    const base = { name: "x", shape: [count] };
    if (datatype === "BYTES") {
      return fc
        .array(fc.uint8Array({ maxLength: 12 }), { minLength: count, maxLength: count })
        .map((elements) => ({ ...base, datatype, elements }));
    }
    const length = count * elementSize(datatype);
    return fc
      .uint8Array({ minLength: length, maxLength: length, max: datatype === "BOOL" ? 1 : 255 })
      .map((bytes) => ({ ...base, datatype, bytes }));
  }),
);

test("contents come back as they were after a trip over the wire", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(tensors, (tensor) => {
        const message = inferContentsMessage(encodeContents(tensor));
        const received = fromBinary(
          InferTensorContentsSchema,
          toBinary(InferTensorContentsSchema, message),
        );
        const decoded = decodeContents("x", tensor.datatype, tensor.shape, received);
        return same(tensor, decoded);
      }),
      { numRuns: 2000 },
    ),
  );
});

function same(a: Tensor, b: Tensor): boolean {
  if (a.datatype !== b.datatype) return false;
  if (a.elements && b.elements)
    return a.elements.every((element, index) =>
      Buffer.from(element).equals(Buffer.from(b.elements[index]!)),
    );
  if (!a.bytes || !b.bytes) return false;
  if (a.datatype !== "FP32" && a.datatype !== "FP64")
    return Buffer.from(a.bytes).equals(Buffer.from(b.bytes));
  // The bits of a NaN are no part of its value.
  const values = ({ bytes }: { bytes: Uint8Array }) =>
    a.datatype === "FP32"
      ? [...new Float32Array(new Uint8Array(bytes).buffer)]
      : [...new Float64Array(new Uint8Array(bytes).buffer)];
  const other = values(b as { bytes: Uint8Array });
  return values(a as { bytes: Uint8Array }).every((value, index) => Object.is(value, other[index]));
}

for (const [datatype, contents, reason] of [
  ["FP16", { fp32Contents: [1] }, "DATATYPE_NEEDS_RAW"],
  ["BF16", {}, "DATATYPE_NEEDS_RAW"],
  ["FP32", { fp64Contents: [1] }, "CONTENTS_FIELD_MISMATCH"],
  ["INT64", { intContents: [1] }, "CONTENTS_FIELD_MISMATCH"],
  ["INT32", { intContents: [1, 2] }, "TENSOR_ELEMENTS_MISMATCH"],
  ["INT32", {}, "TENSOR_ELEMENTS_MISMATCH"],
  ["UINT8", { uintContents: [256] }, "TENSOR_VALUE_INVALID"],
  ["INT8", { intContents: [-129] }, "TENSOR_VALUE_INVALID"],
  ["INT16", { intContents: [32768] }, "TENSOR_VALUE_INVALID"],
  ["UINT16", { uintContents: [65536] }, "TENSOR_VALUE_INVALID"],
] as const satisfies readonly (readonly [Datatype, object, string])[]) {
  test(`decodeContents refuses ${datatype} in ${JSON.stringify(contents)} with ${reason}`, (t) => {
    const message = create(InferTensorContentsSchema, contents as object);
    const error = t.throws(() => decodeContents("x", datatype, [1], message), {
      instanceOf: TensorwireError,
    });
    t.is(error.reason, reason);
    t.is(error.metadata.tensor, "x");
  });
}

test("decodeContents takes absent contents for a tensor without elements", (t) => {
  t.is(decodeContents("x", "FP32", [0, 4], undefined).bytes?.byteLength, 0);
});

test("contentsHoldElements looks at every field", (t) => {
  t.false(contentsHoldElements(undefined));
  t.false(contentsHoldElements(create(InferTensorContentsSchema)));
  t.true(
    contentsHoldElements(create(InferTensorContentsSchema, { bytesContents: [new Uint8Array()] })),
  );
});
