import { readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import {
  type AnsweringModel,
  type BeginCall,
  namesRegion,
  throughMemory,
} from "../../../server/predictor/shared-memory/memory-call.ts";
import { RegionTable } from "../../../server/predictor/shared-memory/region-table.ts";
import type { InferRequest, InferResponse } from "../../../server/rpc/infer-messages.ts";
import { localCall } from "../../support/call-context.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

type Parameters = NonNullable<MessageInitShape<typeof ModelInferRequestSchema>["parameters"]>;

const place = (byteSize: number, offset?: number, region = "r"): Parameters => ({
  shared_memory_region: { parameterChoice: { case: "stringParam", value: region } },
  shared_memory_byte_size: { parameterChoice: { case: "int64Param", value: BigInt(byteSize) } },
  ...(offset !== undefined && {
    shared_memory_offset: { parameterChoice: { case: "int64Param", value: BigInt(offset) } },
  }),
});

const uint8 = (name: string, size: number, parameters: Parameters = {}) => ({
  name,
  datatype: "UINT8",
  shape: [BigInt(size)],
  parameters,
});

/** Answers with the outputs that it is asked for, each with the contents of the input of its name. */
class Echo implements AnsweringModel {
  readonly name = "echo";
  decoupled = false;
  readonly mostOfStream = 64;
  later = false;
  typed = false;
  failure: Error | undefined;
  readonly requests: InferRequest[] = [];

  infer(request: InferRequest): InferResponse | Promise<InferResponse> {
    this.requests.push(request);
    if (this.later) return Promise.resolve().then(() => this.#answer(request));
    return this.#answer(request);
  }

  async *stream(request: InferRequest): AsyncGenerator<InferResponse> {
    this.requests.push(request);
    yield this.#answer(request);
    if (this.decoupled) yield this.#answer(request);
  }

  #answer({ inputs, outputs, rawInputContents }: InferRequest): InferResponse {
    if (this.failure) throw this.failure;
    const wanted = outputs.length > 0 ? outputs : inputs;
    const raw = wanted.map(
      ({ name }) => rawInputContents[inputs.findIndex((input) => input.name === name)]!,
    );
    const heads = wanted.map(({ name }, index) => ({
      name,
      datatype: "UINT8",
      shape: [BigInt(raw[index]!.byteLength)],
    }));
    if (!this.typed) return { modelName: "echo", outputs: heads, rawOutputContents: raw };
    const typed = heads.map((head, index) => ({
      ...head,
      contents: { uintContents: [...raw[index]!] },
    }));
    return { modelName: "echo", outputs: typed };
  }
}

/** The model of every request. */
const beginWith =
  (model: AnsweringModel): BeginCall =>
  async (_request, _call, use) =>
    use(model);

async function start(t: ExecutionContext, limit = 64) {
  const contents = Uint8Array.from({ length: 32 }, (_, index) => index);
  const folder = await temporaryFolder(t, { object: contents });
  const table = new RegionTable({ regions: 4, bytes: limit }, folder);
  table.register({ name: "r", key: "object", offset: 0n, byteSize: 32n });
  t.teardown(() => table.unregisterAll());
  const echo = new Echo();
  const model = throughMemory(echo, table, beginWith(echo));
  const memory = async (): Promise<number[]> => [...(await readFile(join(folder, "object")))];
  return { table, echo, model, memory };
}

const requestOf = (init: MessageInitShape<typeof ModelInferRequestSchema>): InferRequest =>
  create(ModelInferRequestSchema, init);

function reasonOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (error) {
    if (error instanceof TensorwireError) return error.reason;
    throw error;
  }
}

const lists = (raw: readonly Uint8Array[] | undefined): number[][] =>
  (raw ?? []).map((each) => [...each]);

test("a request names a region with an input or with an output", (t) => {
  t.false(namesRegion(requestOf({ inputs: [uint8("x", 1)], outputs: [{ name: "y" }] })));
  t.true(namesRegion(requestOf({ inputs: [uint8("x", 1, place(1))] })));
  t.true(namesRegion(requestOf({ outputs: [{ name: "y", parameters: place(1) }] })));
});

for (const later of [false, true]) {
  test(`inputs come from their places and outputs go to theirs, ${later ? "later" : "at once"}`, async (t) => {
    const { table, echo, model, memory } = await start(t);
    echo.later = later;
    const request = requestOf({
      modelName: "echo",
      id: "7",
      inputs: [uint8("a", 3, place(3, 4)), uint8("b", 2), uint8("c", 1, place(1))],
      outputs: [
        { name: "b" },
        {
          name: "a",
          parameters: {
            ...place(8, 20),
            classification: { parameterChoice: { case: "int64Param", value: 1n } },
          },
        },
      ],
      rawInputContents: [Uint8Array.of(50, 51)],
    });
    const response = await model.infer(request, localCall());
    const [given] = echo.requests;
    t.deepEqual(lists(given!.rawInputContents), [[4, 5, 6], [50, 51], [0]]);
    t.is(given!.id, "7");
    t.deepEqual(
      given!.inputs.map(({ parameters }) => Object.keys(parameters)),
      [[], [], []],
    );
    t.deepEqual(
      given!.outputs.map(({ parameters }) => Object.keys(parameters)),
      [[], ["classification"]],
    );
    t.deepEqual(lists(response.rawOutputContents), [[50, 51], []]);
    t.deepEqual(response.outputs![0]!.parameters, undefined);
    t.deepEqual(response.outputs![1]!.parameters, place(3, 20) as object);
    const now = await memory();
    t.deepEqual(now.slice(19, 24), [19, 4, 5, 6, 23]);
    t.is(table.copiedBytes, 0);
  });
}

test("typed contents beside a region are sent on raw, and a typed answer is written raw", async (t) => {
  const { echo, model, memory } = await start(t);
  echo.typed = true;
  const request = requestOf({
    inputs: [uint8("a", 2, place(2, 1)), { ...uint8("b", 2), contents: { uintContents: [9, 8] } }],
    outputs: [{ name: "b", parameters: place(2, 30) }],
  });
  const response = await model.infer(request, localCall());
  t.deepEqual(lists(echo.requests[0]!.rawInputContents), [
    [1, 2],
    [9, 8],
  ]);
  t.deepEqual(lists(response.rawOutputContents), [[]]);
  t.deepEqual((await memory()).slice(30), [9, 8]);
});

test("an output that is larger than its place is refused with both sizes, and nothing is written", async (t) => {
  const { table, model, memory } = await start(t);
  const before = await memory();
  const request = requestOf({
    inputs: [uint8("a", 3, place(3, 4)), uint8("b", 3, place(3, 5))],
    outputs: [
      { name: "a", parameters: place(3, 20) },
      { name: "b", parameters: place(2, 24) },
    ],
  });
  t.throws(() => model.infer(request, localCall()), {
    message: /output "b" takes 3 bytes, and its place in shared memory region 'r' has 2/,
  });
  t.deepEqual(await memory(), before);
  t.is(table.copiedBytes, 0);
});

const int = (value: bigint): Parameters[string] => ({
  parameterChoice: { case: "int64Param", value },
});
const text = (value: string): Parameters[string] => ({
  parameterChoice: { case: "stringParam", value },
});

const wrong: readonly (readonly [string, Parameters, string])[] = [
  ["a region that is not there", place(1, 0, "other"), "SHARED_MEMORY_REGION_UNKNOWN"],
  ["a region that is no text", { ...place(1), shared_memory_region: int(1n) }, "PARAMETER_INVALID"],
  ["no size", { shared_memory_region: text("r") }, "PARAMETER_INVALID"],
  [
    "a size that is no integer",
    { ...place(1), shared_memory_byte_size: text("1") },
    "PARAMETER_INVALID",
  ],
  ["a negative size", { ...place(1), shared_memory_byte_size: int(-1n) }, "PARAMETER_INVALID"],
  ["a negative offset", { ...place(1), shared_memory_offset: int(-1n) }, "PARAMETER_INVALID"],
  ["a range that ends behind the region", place(2, 31), "SHARED_MEMORY_RANGE_INVALID"],
  ["a range behind the region", place(0, 33), "SHARED_MEMORY_RANGE_INVALID"],
  [
    "a range whose end wraps around",
    { ...place(1), shared_memory_offset: int(2n ** 63n - 1n) },
    "SHARED_MEMORY_RANGE_INVALID",
  ],
];
for (const [what, parameters, reason] of wrong) {
  test(`refused as an input and as an output: ${what}`, async (t) => {
    const { table, echo, model } = await start(t);
    const input = requestOf({ inputs: [uint8("a", 1, place(1)), uint8("b", 1, parameters)] });
    const output = requestOf({
      inputs: [uint8("a", 1, place(1))],
      outputs: [{ name: "a", parameters }],
    });
    for (const request of [input, output]) {
      t.is(
        reasonOf(() => model.infer(request, localCall())),
        reason,
      );
    }
    t.is(echo.requests.length, 0);
    t.is(table.copiedBytes, 0);
  });
}

test("an input that is in memory and in the message, or a raw buffer too many, is refused", async (t) => {
  const { model } = await start(t);
  const both = requestOf({
    inputs: [{ ...uint8("a", 1, place(1)), contents: { uintContents: [1] } }],
  });
  t.is(
    reasonOf(() => model.infer(both, localCall())),
    "RAW_AND_CONTENTS",
  );
  const more = requestOf({
    inputs: [uint8("a", 1, place(1))],
    rawInputContents: [Uint8Array.of(1)],
  });
  t.is(
    reasonOf(() => model.infer(more, localCall())),
    "RAW_COUNT_MISMATCH",
  );
  const mixed = requestOf({
    inputs: [uint8("a", 1, place(1)), { ...uint8("b", 1), contents: { uintContents: [1] } }],
    rawInputContents: [Uint8Array.of(1)],
  });
  t.is(
    reasonOf(() => model.infer(mixed, localCall())),
    "RAW_AND_CONTENTS",
  );
});

test("a small request does not copy more of a large region than there may be under way", async (t) => {
  const { table, echo, model } = await start(t, 64);
  const three = requestOf({ inputs: ["a", "b", "c"].map((name) => uint8(name, 32, place(32))) });
  t.is(
    reasonOf(() => model.infer(three, localCall())),
    "SHARED_MEMORY_LIMIT",
  );
  t.is(table.copiedBytes, 0);
  echo.later = true;
  const two = requestOf({ inputs: ["a", "b"].map((name) => uint8(name, 32, place(32))) });
  const first = model.infer(two, localCall());
  t.is(table.copiedBytes, 64);
  t.is(
    reasonOf(() => model.infer(two, localCall())),
    "SHARED_MEMORY_LIMIT",
  );
  await first;
  t.is(table.copiedBytes, 0);
  await model.infer(two, localCall());
});

test("a call that fails lets go of its region and its copies", async (t) => {
  const { table, echo, model } = await start(t);
  const request = requestOf({
    inputs: [uint8("a", 1, place(1))],
    outputs: [{ name: "a", parameters: place(1) }],
  });
  echo.failure = new Error("the model failed");
  t.throws(() => model.infer(request, localCall()), { message: "the model failed" });
  echo.later = true;
  await t.throwsAsync(async () => model.infer(request, localCall()), {
    message: "the model failed",
  });
  t.is(table.copiedBytes, 0);
  const region = table.find("r");
  table.unregister("r");
  t.throws(() => region.read(0, 1), { message: /EBADF/ }, "closed as nobody holds it");
});

test("a region that is unregistered under way is written to all the same", async (t) => {
  const { table, echo, model, memory } = await start(t);
  echo.later = true;
  const request = requestOf({
    inputs: [uint8("a", 1, place(1, 5))],
    outputs: [{ name: "a", parameters: place(1, 31) }],
  });
  const answer = model.infer(request, localCall());
  table.unregisterAll();
  await answer;
  t.is((await memory())[31], 5);
});

test("one answer of a stream is written before it is given, and nothing is held after it", async (t) => {
  const { table, model, memory } = await start(t);
  const request = requestOf({
    inputs: [uint8("a", 1, place(1, 5))],
    outputs: [{ name: "a", parameters: place(1, 31) }],
  });
  const { value } = await model.stream(request, localCall()).next();
  t.deepEqual(lists(value?.rawOutputContents), [[]]);
  t.is((await memory())[31], 5);
  // The reader of a stream takes one answer and does not come back.
  t.is(table.copiedBytes, 0);
});

test("a decoupled model takes inputs from memory, and has no outputs there", async (t) => {
  const { table, echo, model: _, memory } = await start(t);
  echo.decoupled = true;
  const model = throughMemory(echo, table, beginWith(echo));
  const input = requestOf({ inputs: [uint8("a", 1, place(1, 5))] });
  const answers: number[][][] = [];
  for await (const each of model.stream(input, localCall()))
    answers.push(lists(each.rawOutputContents));
  t.deepEqual(answers, [[[5]], [[5]]]);
  t.is(table.copiedBytes, 0);
  const output = requestOf({
    inputs: [uint8("a", 1, place(1))],
    outputs: [{ name: "a", parameters: place(1) }],
  });
  const error = await t.throwsAsync(model.stream(output, localCall()).next(), {
    instanceOf: TensorwireError,
  });
  t.is(error?.reason, "SHARED_MEMORY_UNSUPPORTED");
  t.is((await memory()).length, 32);
});

const mib = 1024 * 1024;

/** A region of 4 MiB whose bytes are those of their MiB, and a model that answers what it is given. */
async function startLarge(t: ExecutionContext) {
  const contents = new Uint8Array(4 * mib).map((_, index) => index / mib + 1);
  const folder = await temporaryFolder(t, { object: contents });
  const table = new RegionTable({ regions: 1, bytes: 8 * mib }, folder);
  table.register({ name: "r", key: "object", offset: 0n, byteSize: BigInt(4 * mib) });
  t.teardown(() => table.unregisterAll());
  const echo = new Echo();
  const path = join(folder, "object");
  const memory = async (mibIndex: number): Promise<Set<number>> =>
    new Set((await readFile(path)).subarray(mibIndex * mib, (mibIndex + 1) * mib));
  return { table, echo, path, memory };
}

test("large tensors are copied in another thread, and the model has the call when its inputs are there", async (t) => {
  const { table, echo, memory } = await startLarge(t);
  const later = new Echo();
  // It was loaded again while the inputs were copied.
  const model = throughMemory(echo, table, beginWith(later));
  const request = requestOf({
    inputs: [uint8("a", mib, place(mib, mib))],
    outputs: [{ name: "a", parameters: place(mib, 3 * mib) }],
  });
  const answer = model.infer(request, localCall());
  t.is(echo.requests.length + later.requests.length, 0);
  t.is(table.copiedBytes, mib);
  // The region stays open for the call.
  table.unregisterAll();
  const response = await answer;
  t.deepEqual([echo.requests.length, later.requests.length], [0, 1]);
  t.deepEqual(lists(response.rawOutputContents), [[]]);
  t.deepEqual(await memory(3), new Set([2]));
  t.deepEqual(await memory(2), new Set([3]));
  t.is(table.copiedBytes, 0);
});

test("a call that leaves while its inputs are copied does not reach the model", async (t) => {
  const { table, echo } = await startLarge(t);
  const model = throughMemory(echo, table, beginWith(echo));
  const abort = new AbortController();
  const request = requestOf({ inputs: [uint8("a", 2 * mib, place(2 * mib))] });
  const answer = model.infer(request, localCall(abort.signal)) as Promise<InferResponse>;
  abort.abort();
  await t.throwsAsync(answer, { message: /cancelled while its inputs were copied/ });
  t.is(echo.requests.length, 0);
  t.is(table.copiedBytes, 0);
});

test("a large object that has become shorter is an error, in whichever thread it is read", async (t) => {
  const { table, echo, path } = await startLarge(t);
  const model = throughMemory(echo, table, beginWith(echo));
  await truncate(path, mib);
  const request = requestOf({ inputs: [uint8("a", 2 * mib, place(2 * mib))] });
  await t.throwsAsync(async () => model.infer(request, localCall()), {
    message: /has become shorter than the 2097152 bytes/,
  });
  t.is(table.copiedBytes, 0);
});

test("large inputs of a sequence or a stream are there at once, so that calls keep their order", async (t) => {
  const { table, echo } = await startLarge(t);
  const model = throughMemory(echo, table, beginWith(echo));
  const input = uint8("a", 2 * mib, place(2 * mib));
  const sequence = requestOf({ inputs: [input], parameters: { sequence_id: int(7n) } });
  const answer = model.infer(sequence, localCall());
  t.false(answer instanceof Promise);
  const first = model.stream(requestOf({ inputs: [input] }), localCall()).next();
  t.is(echo.requests.length, 2);
  await first;
  t.is(table.copiedBytes, 0);
});
