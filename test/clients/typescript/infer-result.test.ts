import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import fc from "fast-check";
import { inferRequest } from "../../../clients/typescript/src/infer-request.ts";
import { inferResult } from "../../../clients/typescript/src/infer-result.ts";
import { InferenceError } from "../../../clients/typescript/src/inference-error.ts";
import { tensor } from "../../../clients/typescript/src/tensor.ts";
import type { TypedTensor } from "../../../clients/typescript/src/typed-tensor.ts";
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { inferContentsMessage } from "../../../server/rpc/infer-messages.ts";
import { joinBytesElements } from "../../../server/tensor/bytes-elements.ts";
import { encodeContents } from "../../../server/tensor/contents.ts";
import { bytesOf } from "../../../server/tensor/typed-array.ts";

/** Sends an answer over the wire format and reads it. */
function read(response: MessageInitShape<typeof ModelInferResponseSchema>) {
  const bytes = toBinary(ModelInferResponseSchema, create(ModelInferResponseSchema, response));
  return inferResult(fromBinary(ModelInferResponseSchema, bytes));
}

function answerWith(made: TypedTensor, contents: "raw" | "typed") {
  const { datatype, shape } = made;
  const output = { name: "y", datatype, shape: shape.map(BigInt) };
  const raw = made.datatype === "BYTES" ? joinBytesElements(made.bytes) : bytesOf(made.data);
  if (contents === "raw") return read({ outputs: [output], rawOutputContents: [raw] });
  const typed =
    made.datatype === "BYTES"
      ? encodeContents({ name: "y", datatype: "BYTES", shape, elements: made.bytes })
      : encodeContents({ name: "y", datatype: made.datatype, shape, bytes: raw });
  return read({ outputs: [{ ...output, contents: inferContentsMessage(typed) }] });
}

const samples: readonly TypedTensor[] = [
  tensor([2], [true, false]),
  tensor([2], [0, 255], "UINT8"),
  tensor([2], [0, 65535], "UINT16"),
  tensor([2], [0, 2 ** 32 - 1], "UINT32"),
  tensor([2], [0n, 2n ** 64n - 1n], "UINT64"),
  tensor([2], [-128, 127], "INT8"),
  tensor([2], [-32768, 32767], "INT16"),
  tensor([2], [-(2 ** 31), 2 ** 31 - 1], "INT32"),
  tensor([2], [-(2n ** 63n), 2n ** 63n - 1n]),
  tensor([1, 2], [0.1, -0]),
  tensor([2, 1], [0.1, 1e300], "FP64"),
  tensor([2], ["", "é"]),
  tensor([0, 3], []),
];

for (const sample of samples) {
  test(`raw and typed answers of ${sample.datatype} ${sample.shape} read alike`, (t) => {
    const raw = answerWith(sample, "raw").output("y");
    const typed = answerWith(sample, "typed").output("y");
    t.deepEqual(raw.toArray(), sample.toArray());
    t.deepEqual(typed.toArray(), sample.toArray());
    t.deepEqual(raw.shape, sample.shape);
    t.is(typed.datatype, sample.datatype);
  });
}

test("FP16 and BF16 answers come raw and read as numbers", (t) => {
  t.deepEqual(
    answerWith(tensor([1], [0.5], "FP16"), "raw")
      .output("y")
      .toArray(),
    [0.5],
  );
  t.deepEqual(
    answerWith(tensor([1], [0.5], "BF16"), "raw")
      .output("y")
      .toArray(),
    [0.5],
  );
});

test("an aligned raw output is a view on the message, a misaligned one a copy", (t) => {
  const buffer = new ArrayBuffer(12);
  function answer(offset: number) {
    return inferResult(
      create(ModelInferResponseSchema, {
        outputs: [{ name: "y", datatype: "FP32", shape: [2n] }],
        rawOutputContents: [new Uint8Array(buffer, offset, 8)],
      }),
    ).output("y", "FP32").data;
  }
  t.is(answer(4).buffer, buffer);
  t.not(answer(1).buffer, buffer);
});

test("output gives the typed tensor, or says which outputs and datatypes there are", (t) => {
  const result = answerWith(tensor([1], [1]), "raw");
  const data: Float32Array = result.output("y", "FP32").data;
  t.is(data[0], 1);
  t.like(
    t.throws(() => result.output("z"), { message: /no output "z"; it has \["y"\]/ }),
    { reason: "OUTPUT_UNKNOWN" },
  );
  t.throws(() => result.output("y", "FP64"), {
    instanceOf: InferenceError,
    message: 'output "y": got datatype FP32, expected FP64',
  });
  t.throws(() => result.output("toString"), { message: /no output "toString"/ });
});

test("an answer that contradicts itself is an error of the server", (t) => {
  const output = { name: "y", datatype: "FP32", shape: [2n] };
  const raw = new Uint8Array(8);
  const bad: readonly MessageInitShape<typeof ModelInferResponseSchema>[] = [
    { outputs: [output], rawOutputContents: [raw, raw] },
    { outputs: [output], rawOutputContents: [new Uint8Array(7)] },
    { outputs: [output] },
    { outputs: [{ ...output, datatype: "FLOAT" }], rawOutputContents: [raw] },
    { outputs: [{ ...output, shape: [-1n] }], rawOutputContents: [raw] },
    { outputs: [{ ...output, datatype: "BYTES" }], rawOutputContents: [Uint8Array.of(9, 0, 0)] },
  ];
  for (const response of bad) {
    const error = t.throws(() => read({ modelName: "m", ...response }), {
      instanceOf: InferenceError,
      message: /^the answer of model "m" cannot be read: /,
    });
    t.is(error?.code, "INTERNAL");
  }
});

test("parameters come back as values; integers beyond 2^53 as bigints", (t) => {
  const { parameters } = read({
    parameters: {
      flag: { parameterChoice: { case: "boolParam", value: true } },
      small: { parameterChoice: { case: "int64Param", value: -5n } },
      large: { parameterChoice: { case: "uint64Param", value: 2n ** 63n } },
      text: { parameterChoice: { case: "stringParam", value: "a" } },
      half: { parameterChoice: { case: "doubleParam", value: 0.5 } },
    },
  });
  t.deepEqual(parameters, { flag: true, small: -5, large: 2n ** 63n, text: "a", half: 0.5 });
});

test("a request carries all that the options say", (t) => {
  const made = inferRequest(
    "m",
    { x: tensor([1, 2], [1, 2]), s: tensor([1], ["ab"]) },
    {
      modelVersion: "3",
      id: "call-1",
      parameters: { whole: 1, part: 0.5, as: { double: 2 }, huge: 2n ** 63n, name: "n", on: false },
      outputs: ["y", { name: "z", classification: 2 }],
    },
  );
  const request = fromBinary(ModelInferRequestSchema, toBinary(ModelInferRequestSchema, made));
  t.like(request, { modelName: "m", modelVersion: "3", id: "call-1" });
  const choices = Object.entries(request.parameters).map(([name, { parameterChoice }]) => [
    name,
    parameterChoice.case,
    parameterChoice.value,
  ]);
  t.deepEqual(choices, [
    ["whole", "int64Param", 1n],
    ["part", "doubleParam", 0.5],
    ["as", "doubleParam", 2],
    ["huge", "uint64Param", 2n ** 63n],
    ["name", "stringParam", "n"],
    ["on", "boolParam", false],
  ]);
  t.deepEqual(
    request.inputs.map(({ name, datatype, shape }) => [name, datatype, shape]),
    [
      ["x", "FP32", [1n, 2n]],
      ["s", "BYTES", [1n]],
    ],
  );
  t.deepEqual(
    request.rawInputContents.map((raw) => [...raw]),
    [[...bytesOf(Float32Array.of(1, 2))], [2, 0, 0, 0, 0x61, 0x62]],
  );
  t.deepEqual(
    request.outputs.map(({ name, parameters }) => [
      name,
      parameters.classification?.parameterChoice.value,
    ]),
    [
      ["y", undefined],
      ["z", 2n],
    ],
  );
});

test("a request takes views on the tensors, not copies", (t) => {
  const floats = Float32Array.of(1, 2, 3).subarray(1);
  const [raw] = inferRequest("m", { x: tensor([2], floats) }).rawInputContents;
  t.is(raw?.buffer, floats.buffer);
  t.deepEqual([raw?.byteOffset, raw?.byteLength], [4, 8]);
});

test("a request names the input that contradicts itself", (t) => {
  const bad: readonly (readonly [unknown, string])[] = [
    [[1, 2], "REQUEST_MALFORMED"],
    [undefined, "REQUEST_MALFORMED"],
    [{ datatype: "FP32", shape: [2], data: [1, 2] }, "REQUEST_MALFORMED"],
    [{ datatype: "FP32", shape: [1], data: Float64Array.of(1) }, "REQUEST_MALFORMED"],
    [{ datatype: "BYTES", shape: [1], data: ["a"] }, "REQUEST_MALFORMED"],
    [{ datatype: "FP32", shape: [2], data: Float32Array.of(1) }, "TENSOR_ELEMENTS_MISMATCH"],
    [{ datatype: "BYTES", shape: [2], bytes: [] }, "TENSOR_ELEMENTS_MISMATCH"],
    [{ datatype: "FP32", shape: [-1], data: Float32Array.of(1) }, "SHAPE_INVALID"],
    [{ datatype: "float", shape: [1], data: Float32Array.of(1) }, "DATATYPE_UNKNOWN"],
  ];
  for (const [input, reason] of bad) {
    const error = t.throws(() => inferRequest("m", { here: input as never }), {
      message: /"here"/,
    });
    t.like(error, { reason });
  }
});

test("any FP32 tensor survives the wire, wherever its bytes lie in the message", (t) => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.float()), (name, values) => {
      const data = Float32Array.from(values);
      const result = read({
        outputs: [{ name, datatype: "FP32", shape: [BigInt(values.length)] }],
        rawOutputContents: [bytesOf(data)],
      });
      t.deepEqual(result.output(name, "FP32").data, data);
    }),
  );
});
