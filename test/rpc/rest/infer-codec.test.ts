import { create } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import test from "ava";
import fc from "fast-check";
import {
  type ModelInferRequest,
  ModelInferResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { decodeInfer, encodeInfer } from "../../../server/rpc/rest/infer-codec.ts";
import { joinBytesElements } from "../../../server/tensor/bytes-elements.ts";
import { type Datatype, datatypes, elementSize } from "../../../server/tensor/datatype.ts";

interface RawTensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly raw: Uint8Array;
}

/** Tensors of any datatype and bit pattern; BYTES are any bytes or UTF-8. */
function tensors(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<RawTensor> {
  return fc.constantFrom(...datatypes).chain((datatype) =>
    fc.array(fc.nat(3), { maxLength: 3 }).chain((shape) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const length = { minLength: count, maxLength: count };
      const size = count * elementSize(datatype);
      const raw =
        datatype === "BYTES"
          ? fc.array(bytes, length).map(joinBytesElements)
          : fc.uint8Array({
              minLength: size,
              maxLength: size,
              // Without the exponents of which some patterns are NaN, which JSON has one of.
              max: datatype === "BOOL" ? 1 : /^B?F/.test(datatype) ? 0x7b : 255,
            });
      return raw.map((contents) => ({ datatype, shape, raw: contents }));
    }),
  );
}

const utf8 = fc.string({ unit: "binary" }).map((text) => new TextEncoder().encode(text));

async function read(response: UniversalServerResponse): Promise<{ json: Buffer; binary: Buffer }> {
  const parts: Uint8Array[] = [];
  for await (const part of response.body as AsyncIterable<Uint8Array>) parts.push(part);
  const bytes = Buffer.concat(parts);
  const length = response.header?.get("inference-header-content-length") ?? bytes.byteLength;
  return { json: bytes.subarray(0, Number(length)), binary: bytes.subarray(Number(length)) };
}

function echo(request: ModelInferRequest) {
  return create(ModelInferResponseSchema, {
    modelName: request.modelName,
    outputs: request.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    rawOutputContents: request.rawInputContents,
  });
}

function sameContents(request: ModelInferRequest, given: readonly RawTensor[]): boolean {
  return given.every(({ raw, shape, datatype }, index) => {
    const input = request.inputs[index]!;
    return (
      input.datatype === datatype &&
      input.shape.join() === shape.join() &&
      Buffer.from(request.rawInputContents[index]!).equals(Buffer.from(raw))
    );
  });
}

test("tensors of all datatypes go through binary parts and back unchanged, as views", async (t) => {
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(
        fc.array(tensors(fc.uint8Array({ maxLength: 5 })), { maxLength: 4 }),
        async (given) => {
          const head = Buffer.from(
            JSON.stringify({
              parameters: { binary_data_output: true },
              inputs: given.map(({ datatype, shape, raw }, index) => ({
                name: `t${index}`,
                datatype,
                shape,
                parameters: { binary_data_size: raw.byteLength },
              })),
            }),
          );
          const body = Buffer.concat([head, ...given.map(({ raw }) => raw)]);
          const { request, isBinaryOutput } = decodeInfer("m", "", body, `${head.byteLength}`);
          const { json, binary } = await read(encodeInfer(echo(request), isBinaryOutput));
          const outputs = JSON.parse(json.toString()).outputs as {
            parameters: { binary_data_size: number };
          }[];
          return (
            sameContents(request, given) &&
            request.rawInputContents.every((raw) => raw.buffer === body.buffer) &&
            outputs.every(
              ({ parameters }, index) =>
                parameters.binary_data_size === given[index]!.raw.byteLength,
            ) &&
            binary.equals(Buffer.concat(given.map(({ raw }) => raw)))
          );
        },
      ),
    ),
  );
});

test("tensors of all datatypes go through JSON and back unchanged", async (t) => {
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(fc.array(tensors(utf8), { minLength: 1, maxLength: 4 }), async (given) => {
        const response = create(ModelInferResponseSchema, {
          outputs: given.map(({ datatype, shape }, index) => ({
            name: `t${index}`,
            datatype,
            shape: shape.map(BigInt),
          })),
          rawOutputContents: given.map(({ raw }) => raw),
        });
        const { json } = await read(encodeInfer(response, () => false));
        const body = Buffer.from(json.toString().replace('"outputs":', '"inputs":'));
        return sameContents(decodeInfer("m", "", body, null).request, given);
      }),
      { numRuns: 500 },
    ),
  );
});

test("a large answer is written whole, its elements as JSON.stringify writes them", async (t) => {
  const values = Float64Array.from(
    { length: 20_001 },
    (_, index) => Math.sin(index) * 10 ** (index % 40),
  );
  const response = create(ModelInferResponseSchema, {
    outputs: [{ name: "y", datatype: "FP64", shape: [20_001n] }],
    rawOutputContents: [new Uint8Array(values.buffer)],
  });
  const { json } = await read(encodeInfer(response, () => false));
  t.is(
    json.toString(),
    `{"model_name":"","model_version":"","outputs":[{"name":"y","datatype":"FP64","shape":[20001],"data":${JSON.stringify(Array.from(values))}}]}`,
  );
});

test("parameters of the answer and of its outputs are written, beside the size of binary parts", async (t) => {
  const response = create(ModelInferResponseSchema, {
    modelName: "m",
    modelVersion: "2",
    id: "i",
    parameters: {
      big: { parameterChoice: { case: "uint64Param", value: 2n ** 64n - 1n } },
      share: { parameterChoice: { case: "doubleParam", value: Number.NaN } },
    },
    outputs: ["a", "b"].map((name) => ({
      name,
      datatype: "UINT8",
      shape: [1n],
      parameters: { unit: { parameterChoice: { case: "stringParam" as const, value: "px" } } },
    })),
    rawOutputContents: [Uint8Array.of(1), Uint8Array.of(2)],
  });
  const { json, binary } = await read(encodeInfer(response, (name) => name === "b"));
  t.is(
    json.toString(),
    '{"model_name":"m","model_version":"2","id":"i","parameters":{"big":18446744073709551615,"share":"NaN"},"outputs":[{"name":"a","datatype":"UINT8","shape":[1],"parameters":{"unit":"px"},"data":[1]},{"name":"b","datatype":"UINT8","shape":[1],"parameters":{"unit":"px","binary_data_size":1}}]}',
  );
  t.deepEqual([...binary], [2]);
});

test("an answer in typed contents is written like one in raw contents", async (t) => {
  const response = create(ModelInferResponseSchema, {
    outputs: [
      { name: "a", datatype: "INT64", shape: [2n], contents: { int64Contents: [1n, 2n ** 60n] } },
      {
        name: "s",
        datatype: "BYTES",
        shape: [1n],
        contents: { bytesContents: [Buffer.from("é")] },
      },
    ],
  });
  const { json, binary } = await read(encodeInfer(response, (name) => name === "s"));
  t.regex(json.toString(), /"data":\[1,1152921504606846976\]/);
  t.deepEqual(JSON.parse(json.toString()).outputs[1].parameters, { binary_data_size: 6 });
  t.deepEqual([...binary], [2, 0, 0, 0, 0xc3, 0xa9]);
});

test("contents in shared memory are left to the backend: raw contents are those of the other inputs", (t) => {
  const parameters = { shared_memory_region: "r", shared_memory_byte_size: 8 };
  const inputs = [
    { name: "x", datatype: "FP32", shape: [2], parameters },
    { name: "z", datatype: "UINT8", shape: [1], data: [7] },
  ];
  const body = Buffer.from(JSON.stringify({ inputs }));
  const { request } = decodeInfer("m", "", body, null);
  t.deepEqual(
    request.rawInputContents.map((raw) => [...raw]),
    [[7]],
  );
  t.deepEqual(request.inputs[0]!.parameters.shared_memory_region?.parameterChoice, {
    case: "stringParam",
    value: "r",
  });
});

test("an input that is in shared memory and in the body is refused", (t) => {
  const both = { name: "x", datatype: "FP32", shape: [1], data: [1] };
  const parameters = { shared_memory_region: "r", shared_memory_byte_size: 4 };
  const body = Buffer.from(JSON.stringify({ inputs: [{ ...both, parameters }] }));
  t.throws(() => decodeInfer("m", "", body, null), {
    message: /input "x" has data, and shared_memory_region/,
  });
});

test("an output in shared memory is answered without contents and parameters", async (t) => {
  const parameterChoice = { case: "stringParam" as const, value: "r" };
  const response = create(ModelInferResponseSchema, {
    modelName: "m",
    outputs: [
      {
        name: "s",
        datatype: "BYTES",
        shape: [2n],
        parameters: { shared_memory_region: { parameterChoice } },
      },
      { name: "z", datatype: "UINT8", shape: [1n] },
    ],
    rawOutputContents: [new Uint8Array(0), Uint8Array.of(7)],
  });
  const { json, binary } = await read(encodeInfer(response, () => true));
  t.deepEqual(JSON.parse(json.toString()).outputs, [
    { name: "s", datatype: "BYTES", shape: [2] },
    { name: "z", datatype: "UINT8", shape: [1], parameters: { binary_data_size: 1 } },
  ]);
  t.deepEqual([...binary], [7]);
});

test("integers of 64 bits are kept in parameters, and names of the object prototype are names", (t) => {
  const body = Buffer.from(
    '{"parameters":{"low":-9223372036854775808,"high":18446744073709551615,"__proto__":true}}',
  );
  const { parameters } = decodeInfer("m", "", body, null).request;
  t.deepEqual(parameters.low?.parameterChoice, { case: "int64Param", value: -(2n ** 63n) });
  t.deepEqual(parameters.high?.parameterChoice, { case: "uint64Param", value: 2n ** 64n - 1n });
  t.is(({} as { parameterChoice?: unknown }).parameterChoice, undefined);
});

const input = (fields: object): string =>
  JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1], data: [1], ...fields }] });

for (const [name, body, reason, message] of [
  ["a dimension that is a string", input({ shape: ["1"] }), "SHAPE_INVALID", /got shape \["1"\]/],
  ["a dimension that is null", input({ shape: [null] }), "SHAPE_INVALID", /got shape \[null\]/],
  ["a dimension that is a list", input({ shape: [[1]] }), "SHAPE_INVALID", /got shape \[\[1\]\]/],
  ["a broken dimension", input({ shape: [0.5] }), "SHAPE_INVALID", /got shape \[0.5\]/],
  [
    "a dimension beyond 2^53",
    '{"inputs":[{"name":"x","datatype":"FP32","shape":[99999999999999999],"data":[]}]}',
    "SHAPE_INVALID",
    /got shape \[99999999999999999\]/,
  ],
  [
    "binary_data that is no boolean",
    '{"outputs":[{"name":"y","parameters":{"binary_data":"yes"}}]}',
    "PARAMETER_INVALID",
    /parameter "binary_data": got yes, expected true or false/,
  ],
  [
    "binary_data_output that is no boolean",
    '{"parameters":{"binary_data_output":1}}',
    "PARAMETER_INVALID",
    /parameter "binary_data_output": got 1/,
  ],
  [
    "a parameter beyond 64 bits",
    '{"parameters":{"a":18446744073709551616}}',
    "REQUEST_MALFORMED",
    /parameter "a" is 18446744073709551616/,
  ],
  [
    "a size of binary data that is negative",
    input({ data: undefined, parameters: { binary_data_size: -1 } }),
    "REQUEST_MALFORMED",
    /binary_data_size of input "x" must be a whole number/,
  ],
  [
    "half of a surrogate pair",
    '{"inputs":[{"name":"x","datatype":"BYTES","shape":[1],"data":["\\ud800"]}]}',
    "TENSOR_VALUE_INVALID",
    /element 0: got "\\ud800", expected a string of whole characters/,
  ],
  [
    "JSON with its place",
    '{\n "inputs": [,]}',
    "REQUEST_MALFORMED",
    /got "," at position 14 \(line 2, column 13\), expected a value/,
  ],
  [
    "JSON that is cut short",
    '{"inputs":[',
    "REQUEST_MALFORMED",
    /got the end at position 11 \(line 1, column 12\), expected a value/,
  ],
  [
    "JSON nested without end",
    `{"inputs":${"[".repeat(100_000)}1234567890123456789`,
    "REQUEST_MALFORMED",
    /nested deeper than 100 levels/,
  ],
] as const) {
  test(`${name} is refused`, (t) => {
    const error = t.throws(() => decodeInfer("m", "", Buffer.from(body), null), {
      instanceOf: TensorwireError,
      message,
    });
    t.is(error.reason, reason);
  });
}
