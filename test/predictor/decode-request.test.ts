import { create, type MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import fc from "fast-check";
import { ModelInferRequestSchema } from "../../gen/inference/grpc_service_pb.ts";
import type { Reason } from "../../server/errors/registry.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { decodeRequest } from "../../server/predictor/decode-request.ts";
import type { ModelSignature, TensorSpec } from "../../server/predictor/signature.ts";

const spec = (
  name: string,
  datatype: TensorSpec["datatype"],
  shape: number[],
  optional = false,
): TensorSpec => ({
  name,
  datatype,
  shape,
  optional,
  labels: [],
});

const signature: ModelSignature = {
  inputs: [spec("a", "FP32", [-1, 2]), spec("b", "BYTES", [-1])],
  outputs: [spec("y", "FP32", [-1, 3]), spec("z", "INT64", [-1])],
  maxBatchSize: 4,
};

type Init = MessageInitShape<typeof ModelInferRequestSchema>;

const a = { name: "a", datatype: "FP32", shape: [1n, 2n] };
const b = { name: "b", datatype: "BYTES", shape: [1n] };
const rawA = new Uint8Array(8);
const rawB = Uint8Array.of(1, 0, 0, 0, 65);

function decode(init: Init) {
  return decodeRequest("m", signature, create(ModelInferRequestSchema, init));
}

test("a raw request gives views on its buffers", (t) => {
  const decoded = decode({ inputs: [a, b], rawInputContents: [rawA, rawB] });
  t.is(decoded.form, "raw");
  t.is(decoded.rows, 1);
  t.is(decoded.inputs[0]!.bytes, rawA);
  t.is(Buffer.from(decoded.inputs[1]!.elements![0]!).toString(), "A");
  t.deepEqual(
    decoded.outputs.map(({ name }) => name),
    ["y", "z"],
  );
});

test("a typed request gives the same tensors as a raw one", (t) => {
  const decoded = decode({
    inputs: [
      { ...a, contents: { fp32Contents: [0, 0] } },
      { ...b, contents: { bytesContents: [Uint8Array.of(65)] } },
    ],
  });
  t.is(decoded.form, "typed");
  t.deepEqual(new Uint8Array(decoded.inputs[0]!.bytes!), rawA);
  t.deepEqual(decoded.inputs[1]!.elements, [Uint8Array.of(65)]);
});

test("requested outputs are answered in the order of the request, with classes where asked for", (t) => {
  const decoded = decode({
    inputs: [a, b],
    rawInputContents: [rawA, rawB],
    outputs: [
      { name: "z" },
      {
        name: "y",
        parameters: { classification: { parameterChoice: { case: "int64Param", value: 2n } } },
      },
    ],
  });
  t.deepEqual(decoded.outputs, [
    { name: "z", labels: [], classes: 0 },
    { name: "y", labels: [], classes: 2 },
  ]);
});

const raw = { rawInputContents: [rawA, rawB] };
const cases: readonly (readonly [string, Init, Reason, RegExp])[] = [
  [
    "an unknown output",
    { inputs: [a, b], ...raw, outputs: [{ name: "q" }] },
    "OUTPUT_UNKNOWN",
    /"q".*"y", "z"/,
  ],
  [
    "a duplicate output",
    { inputs: [a, b], ...raw, outputs: [{ name: "y" }, { name: "y" }] },
    "OUTPUT_DUPLICATE",
    /"y"/,
  ],
  [
    "no class",
    {
      inputs: [a, b],
      ...raw,
      outputs: [
        {
          name: "y",
          parameters: { classification: { parameterChoice: { case: "int64Param", value: 0n } } },
        },
      ],
    },
    "PARAMETER_INVALID",
    /classification.*got 0/,
  ],
  [
    "a missing input",
    { inputs: [a], rawInputContents: [rawA] },
    "INPUT_MISSING",
    /got inputs \["a"\], missing \["b"\]; required are \["a", "b"\]/,
  ],
  [
    "an unknown input",
    { inputs: [a, b, { ...a, name: "c" }], rawInputContents: [rawA, rawB, rawA] },
    "INPUT_UNKNOWN",
    /no input "c"/,
  ],
  [
    "a duplicate input",
    { inputs: [a, b, a], rawInputContents: [rawA, rawB, rawA] },
    "INPUT_DUPLICATE",
    /"a"/,
  ],
  [
    "fewer raw buffers than inputs",
    { inputs: [a, b], rawInputContents: [rawA] },
    "RAW_COUNT_MISMATCH",
    /got 1 raw_input_contents for 2 inputs/,
  ],
  [
    "more raw buffers than inputs",
    { inputs: [a, b], rawInputContents: [rawA, rawB, rawB] },
    "RAW_COUNT_MISMATCH",
    /got 3 .* 2 inputs/,
  ],
  [
    "raw and typed contents together",
    { inputs: [{ ...a, contents: { fp32Contents: [1, 2] } }, b], ...raw },
    "RAW_AND_CONTENTS",
    /"a"/,
  ],
  [
    "rows that disagree",
    { inputs: [a, { ...b, shape: [2n] }], ...raw },
    "BATCH_SIZE_MISMATCH",
    /"b" has 2 rows, input "a" has 1/,
  ],
  [
    "too many rows",
    {
      inputs: [
        { ...a, shape: [5n, 2n] },
        { ...b, shape: [5n] },
      ],
      ...raw,
    },
    "BATCH_SIZE_EXCEEDED",
    /5 rows, the limit is 4/,
  ],
  [
    "no batch dimension",
    { inputs: [{ ...a, shape: [] }, b], ...raw },
    "SHAPE_MISMATCH",
    /expected shape \[-1,2\], got \[\]/,
  ],
  [
    "an unknown datatype",
    { inputs: [{ ...a, datatype: "FLOAT" }, b], ...raw },
    "DATATYPE_UNKNOWN",
    /got datatype "FLOAT"/,
  ],
  [
    "another datatype",
    { inputs: [{ ...a, datatype: "FP64" }, b], ...raw },
    "DATATYPE_MISMATCH",
    /"a": got datatype FP64, expected FP32/,
  ],
  [
    "another shape",
    { inputs: [{ ...a, shape: [1n, 3n] }, b], ...raw },
    "SHAPE_MISMATCH",
    /expected shape \[-1,2\], got \[1,3\]/,
  ],
  [
    "a negative dimension",
    { inputs: [{ ...a, shape: [1n, -2n] }, b], ...raw },
    "SHAPE_INVALID",
    /\[1,-2\]/,
  ],
  [
    "a product that cannot be counted",
    { inputs: [{ ...a, shape: [2n ** 40n, 2n ** 40n] }, b], ...raw },
    "SHAPE_INVALID",
    /"a"/,
  ],
  [
    "too few bytes",
    { inputs: [a, b], rawInputContents: [new Uint8Array(7), rawB] },
    "TENSOR_BYTES_MISMATCH",
    /"a": got 7 bytes, expected 8/,
  ],
  [
    "a malformed BYTES element",
    { inputs: [a, b], rawInputContents: [rawA, Uint8Array.of(9, 0, 0, 0)] },
    "BYTES_ELEMENT_MALFORMED",
    /"b", element 0/,
  ],
  [
    "a shared memory region",
    {
      inputs: [
        {
          ...a,
          parameters: {
            shared_memory_region: { parameterChoice: { case: "stringParam", value: "r" } },
          },
        },
        b,
      ],
      ...raw,
    },
    "SHARED_MEMORY_UNSUPPORTED",
    /"a"/,
  ],
];

for (const [name, init, reason, message] of cases) {
  test(`${name} is refused with ${reason}`, (t) => {
    const error = t.throws(() => decode(init), { instanceOf: TensorwireError, message });
    t.is(error.reason, reason);
  });
}

test("an optional input may be left out", (t) => {
  const optional: ModelSignature = {
    ...signature,
    inputs: [signature.inputs[0]!, spec("b", "BYTES", [-1], true)],
  };
  const decoded = decodeRequest(
    "m",
    optional,
    create(ModelInferRequestSchema, { inputs: [a], rawInputContents: [rawA] }),
  );
  t.deepEqual(
    decoded.inputs.map(({ name }) => name),
    ["a"],
  );
});

test("an empty batch is taken with empty buffers", (t) => {
  const decoded = decode({
    inputs: [
      { ...a, shape: [0n, 2n] },
      { ...b, shape: [0n] },
    ],
    rawInputContents: [new Uint8Array(), new Uint8Array()],
  });
  t.is(decoded.rows, 0);
  t.is(decoded.inputs[0]!.bytes!.byteLength, 0);
});

test("whatever a request holds, it is decoded or refused with a reason", (t) => {
  const tensor = fc.record({
    name: fc.constantFrom("a", "b", "c", ""),
    datatype: fc.constantFrom("FP32", "BYTES", "INT8", "x"),
    shape: fc.array(fc.bigInt({ min: -1n, max: 4n }), { maxLength: 3 }),
    contents: fc.option(fc.record({ fp32Contents: fc.array(fc.float(), { maxLength: 8 }) }), {
      nil: undefined,
    }),
  });
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(tensor, { maxLength: 3 }),
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 3 }),
        (inputs, rawInputContents) => {
          try {
            const decoded = decode({ inputs, rawInputContents });
            return decoded.inputs.length === inputs.length;
          } catch (error) {
            return error instanceof TensorwireError && error.reason !== "INTERNAL";
          }
        },
      ),
      { numRuns: 3000 },
    ),
  );
});
