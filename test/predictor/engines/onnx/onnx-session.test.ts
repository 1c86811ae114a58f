import { join } from "node:path";
import type { ExecutionContext } from "ava";
import test from "ava";
import {
  AttributeProto_AttributeType as Attribute,
  TensorProto_DataType as Type,
} from "../../../../gen/onnx/onnx_pb.ts";
import { TensorwireError } from "../../../../server/errors/tensorwire-error.ts";
import { OnnxSession } from "../../../../server/predictor/engines/onnx/onnx-session.ts";
import type { Datatype } from "../../../../server/tensor/datatype.ts";
import { elementSize } from "../../../../server/tensor/datatype.ts";
import type { Tensor } from "../../../../server/tensor/tensor.ts";
import { identityModel, onnxModel, tensorInfo } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

async function load(t: ExecutionContext, model: Uint8Array): Promise<OnnxSession> {
  const folder = await temporaryFolder(t, { "model.onnx": model });
  const session = await OnnxSession.load({
    model: "m",
    path: join(folder, "model.onnx"),
    intraOpThreads: 1,
  });
  t.teardown(() => session.release());
  return session;
}

const elementTypes: readonly (readonly [Datatype, number])[] = [
  ["BOOL", Type.BOOL],
  ["UINT8", Type.UINT8],
  ["UINT16", Type.UINT16],
  ["UINT32", Type.UINT32],
  ["UINT64", Type.UINT64],
  ["INT8", Type.INT8],
  ["INT16", Type.INT16],
  ["INT32", Type.INT32],
  ["INT64", Type.INT64],
  ["FP16", Type.FLOAT16],
  ["FP32", Type.FLOAT],
  ["FP64", Type.DOUBLE],
  ["BF16", Type.BFLOAT16],
];

for (const [datatype, elementType] of elementTypes) {
  test(`${datatype} goes through a session bit by bit`, async (t) => {
    const session = await load(t, identityModel(elementType));
    t.is(session.inputs[0]!.datatype, datatype);
    t.is(session.outputs[0]!.datatype, datatype);
    t.deepEqual(session.inputs[0]!.shape, [-1, -1]);
    // 0x3f and 0x01 in turn make ordinary numbers in every datatype; BOOL holds 0 and 1.
    const bytes = Uint8Array.from({ length: 6 * elementSize(datatype) }, (_, index) =>
      datatype === "BOOL" ? index % 2 : index % 2 ? 0x3f : 0x01,
    );
    const { outputs } = session.run(
      [{ name: "x", datatype, shape: [2, 3], bytes } as Tensor],
      ["y"],
    );
    t.is(outputs[0]!.datatype, datatype);
    t.deepEqual(outputs[0]!.shape, [2, 3]);
    t.deepEqual(Buffer.from(outputs[0]!.bytes!), Buffer.from(bytes));
  });
}

test("strings go through a session, empty and beyond ASCII", async (t) => {
  const session = await load(t, identityModel(Type.STRING, ["n"]));
  const elements = ["", "a", "größer €"].map((text) => new TextEncoder().encode(text));
  const { outputs } = session.run([{ name: "x", datatype: "BYTES", shape: [3], elements }], ["y"]);
  t.deepEqual(
    outputs[0]!.elements?.map((element) => Buffer.from(element).toString()),
    ["", "a", "größer €"],
  );
});

test("a string that is not UTF-8 is refused with its place, for it could not come back as it was", async (t) => {
  const session = await load(t, identityModel(Type.STRING, ["n"]));
  const elements = [Uint8Array.of(65), Uint8Array.of(0xff)];
  const error = await t.throwsAsync(
    async () => session.run([{ name: "x", datatype: "BYTES", shape: [2], elements }], ["y"]),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "TENSOR_VALUE_INVALID");
  t.is(error?.metadata.element, "1");
});

test("tensors without elements and scalars go through", async (t) => {
  const empty = await load(t, identityModel());
  const { outputs } = await empty.run(
    [{ name: "x", datatype: "FP32", shape: [0, 3], bytes: new Uint8Array() }],
    ["y"],
  );
  t.deepEqual(outputs[0]!.shape, [0, 3]);
  const scalar = await load(t, identityModel(Type.FLOAT, []));
  t.deepEqual(scalar.inputs[0]!.shape, []);
  const answer = await scalar.run(
    [{ name: "x", datatype: "FP32", shape: [], bytes: new Uint8Array(4) }],
    ["y"],
  );
  t.deepEqual(answer.outputs[0]!.shape, []);
});

/** Two rows of class scores as ZipMap takes them. */
function zipMapModel(labels: object): Uint8Array {
  return onnxModel({
    node: [
      {
        opType: "ZipMap",
        domain: "ai.onnx.ml",
        input: ["x"],
        output: ["scores"],
        attribute: [labels],
      },
    ],
    input: [tensorInfo("x", Type.FLOAT, ["n", 3])],
    output: [
      {
        name: "scores",
        type: {
          value: {
            case: "sequenceType",
            value: {
              elemType: {
                value: {
                  case: "mapType",
                  value: {
                    keyType: Type.INT64,
                    valueType: {
                      value: { case: "tensorType", value: { elemType: Type.FLOAT, shape: {} } },
                    },
                  },
                },
              },
            },
          },
        },
      },
    ],
  });
}

test("what ZipMap makes is served as the tensor it was given, its keys as labels", async (t) => {
  const session = await load(
    t,
    zipMapModel({ name: "classlabels_int64s", type: Attribute.INTS, ints: [10n, 20n, 30n] }),
  );
  t.deepEqual(session.outputs[0]!.shape, [-1, 3]);
  t.deepEqual(session.outputs[0]!.labels, ["10", "20", "30"]);
  const bytes = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const { outputs } = session.run(
    [{ name: "x", datatype: "FP32", shape: [2, 3], bytes }],
    ["scores"],
  );
  t.deepEqual(Buffer.from(outputs[0]!.bytes!), Buffer.from(bytes));
  const named = await load(
    t,
    zipMapModel({
      name: "classlabels_strings",
      type: Attribute.STRINGS,
      strings: [Buffer.from("a"), Buffer.from("b"), Buffer.from("c")],
    }),
  );
  t.deepEqual(named.outputs[0]!.labels, ["a", "b", "c"]);
});

test("an output that is a sequence of tensors is refused at load by its name and type", async (t) => {
  const model = onnxModel({
    node: [{ opType: "SequenceConstruct", input: ["x"], output: ["parts"] }],
    input: [tensorInfo("x", Type.FLOAT, ["n"])],
    output: [
      {
        name: "parts",
        type: {
          value: {
            case: "sequenceType",
            value: { elemType: { value: { case: "tensorType", value: { elemType: Type.FLOAT } } } },
          },
        },
      },
    ],
  });
  const error = await t.throwsAsync(load(t, model), {
    instanceOf: TensorwireError,
    message: /output "parts" is seq\(tensor\(float\)\)/,
  });
  t.is(error?.reason, "MODEL_UNSUPPORTED");
});

const withDefault = (irVersion: bigint): Uint8Array =>
  onnxModel(
    {
      node: [{ opType: "Add", input: ["x", "offset"], output: ["y"] }],
      initializer: [{ name: "offset", dims: [1n], dataType: Type.FLOAT, floatData: [10] }],
      input: [tensorInfo("x", Type.FLOAT, ["n"]), tensorInfo("offset", Type.FLOAT, [1])],
      output: [tensorInfo("y", Type.FLOAT, ["n"])],
    },
    irVersion,
  );

test("an input with a default may be given or left out", async (t) => {
  const session = await load(t, withDefault(8n));
  t.deepEqual(
    session.inputs.map(({ name, optional }) => [name, optional]),
    [
      ["x", false],
      ["offset", true],
    ],
  );
  const x: Tensor = {
    name: "x",
    datatype: "FP32",
    shape: [1],
    bytes: new Uint8Array(Float32Array.of(1).buffer),
  };
  const offset: Tensor = {
    name: "offset",
    datatype: "FP32",
    shape: [1],
    bytes: new Uint8Array(Float32Array.of(5).buffer),
  };
  const y = async (inputs: Tensor[]): Promise<number> =>
    Buffer.from(session.run(inputs, ["y"]).outputs[0]!.bytes!).readFloatLE();
  t.is(await y([x]), 11);
  t.is(await y([x, offset]), 6);
  t.is(await y([x]), 11);
});

test("before IR version 4 an initializer listed as an input is no input", async (t) => {
  const session = await load(t, withDefault(3n));
  t.deepEqual(
    session.inputs.map(({ name }) => name),
    ["x"],
  );
});

test("bytes that are no model are refused with the reason MODEL_LOAD_FAILED", async (t) => {
  for (const bytes of [
    new Uint8Array(),
    Buffer.from("no model"),
    identityModel().subarray(0, 40),
  ]) {
    const error = await t.throwsAsync(load(t, bytes), { instanceOf: TensorwireError });
    t.is(error?.reason, "MODEL_LOAD_FAILED");
  }
});

test("an input that the model itself refuses fails that call with the engine's words", async (t) => {
  const model = onnxModel({
    node: [{ opType: "Gather", input: ["table", "x"], output: ["y"] }],
    initializer: [{ name: "table", dims: [2n], dataType: Type.FLOAT, floatData: [1, 2] }],
    input: [tensorInfo("x", Type.INT64, ["n"])],
    output: [tensorInfo("y", Type.FLOAT, ["n"])],
  });
  const session = await load(t, model);
  const index = (value: bigint): Tensor => ({
    name: "x",
    datatype: "INT64",
    shape: [1],
    bytes: new Uint8Array(BigInt64Array.of(value).buffer),
  });
  const error = await t.throwsAsync(async () => session.run([index(7n)], ["y"]), {
    instanceOf: TensorwireError,
    message: /indices element out of data bounds/,
  });
  t.is(error?.reason, "MODEL_EXECUTION_FAILED");
  const { outputs } = session.run([index(1n)], ["y"]);
  t.is(Buffer.from(outputs[0]!.bytes!).readFloatLE(), 2);
});
