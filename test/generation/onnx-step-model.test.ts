import test from "ava";
import {
  createOnnxStepModel,
  type OnnxStepModelOptions,
  type TensorSession,
} from "../../server/generation/onnx-step-model.ts";
import type { Tensor } from "../../server/tensor/tensor.ts";
import { bytesOf, viewTypedArray } from "../../server/tensor/typed-array.ts";

// A "graph" that says what it is given: the key of a token is its number, the value its place, and the logits
// are the number of rows, the tokens' sum with all in the filled cells, and the place of the last one.
const sizes = { layers: 1, heads: 1, headSize: 2, vocabularySize: 3, slots: 3, contextLength: 128 };

interface Run {
  readonly rows: number;
  readonly added: number;
}

function floatsOf(tensor: Tensor): Float32Array {
  return viewTypedArray(tensor.name, "FP32", tensor.bytes!, tensor.shape);
}

function integersOf(tensor: Tensor): number[] {
  return Array.from(viewTypedArray(tensor.name, "INT64", tensor.bytes!, tensor.shape), Number);
}

function fakeSession(runs: Run[], fail: (run: Run) => boolean = () => false): TensorSession {
  return {
    async run(inputs, outputNames) {
      const of = (name: string): Tensor => inputs.find((each) => each.name === name)!;
      const [rows, added] = of("tokens").shape as [number, number];
      const run = { rows, added };
      runs.push(run);
      if (fail(run)) throw new Error("no luck");
      const tokens = integersOf(of("tokens"));
      const lengths = integersOf(of("lengths"));
      const past = of("past_key_0");
      const cells = past.shape[2]!;
      const keys = floatsOf(past);
      const logits = new Float32Array(rows * sizes.vocabularySize);
      const newKeys = new Float32Array(rows * added * 2);
      for (let row = 0; row < rows; row++) {
        let sum = 0;
        for (let cell = 0; cell < lengths[row]!; cell++) sum += keys[(row * cells + cell) * 2]!;
        for (let index = 0; index < added; index++) {
          const token = tokens[row * added + index]!;
          sum += token;
          newKeys[(row * added + index) * 2] = token;
        }
        logits.set([rows, sum, lengths[row]! + added - 1], row * 3);
      }
      const outputs: Record<string, Tensor> = {
        logits: { name: "logits", datatype: "FP32", shape: [rows, 3], bytes: bytesOf(logits) },
        new_key_0: {
          name: "new_key_0",
          datatype: "FP32",
          shape: [rows, 1, added, 2],
          bytes: bytesOf(newKeys),
        },
        new_value_0: {
          name: "new_value_0",
          datatype: "FP32",
          shape: [rows, 1, added, 2],
          bytes: bytesOf(newKeys),
        },
      };
      return outputNames.map((name) => outputs[name]!);
    },
  };
}

const model = (session: TensorSession, options: Partial<OnnxStepModelOptions> = {}) =>
  createOnnxStepModel({ ...sizes, session, ...options });

test("rows that go on by one token share a run, others have one each, and each sees its own cells only", async (t) => {
  const runs: Run[] = [];
  const { step, release } = model(fakeSession(runs));
  const logits = async (...rows: Parameters<typeof step>[0]): Promise<unknown> =>
    (await step(rows)).map((each) => (each instanceof Error ? each.message : [...each]));
  t.deepEqual(await logits({ slot: 2, tokens: [10, 20, 30] }, { slot: 0, tokens: [1] }), [
    [1, 60, 2],
    [1, 1, 0],
  ]);
  t.deepEqual(runs, [
    { rows: 1, added: 1 },
    { rows: 1, added: 3 },
  ]);
  t.deepEqual(
    await logits({ slot: 0, tokens: [2] }, { slot: 1, tokens: [5, 6] }, { slot: 2, tokens: [40] }),
    [
      [2, 3, 1],
      [1, 11, 1],
      [2, 100, 3],
    ],
  );
  t.deepEqual(runs.slice(2), [
    { rows: 2, added: 1 },
    { rows: 1, added: 2 },
  ]);
  release(2);
  t.deepEqual(await logits({ slot: 2, tokens: [7] }, { slot: 1, tokens: [1] }), [
    [2, 7, 0],
    [2, 12, 2],
  ]);
  t.deepEqual(await logits({ slot: 0, tokens: [4] }), [[1, 7, 2]]);
});

test("a text past the cells that rows are laid out with at first keeps what it has", async (t) => {
  const { step } = model(fakeSession([]));
  let sum = 0;
  for (let token = 1; token <= 128; token++) {
    sum += token;
    const [logits] = await step([{ slot: 1, tokens: [token] }]);
    t.deepEqual([...(logits as Float32Array)], [1, sum, token - 1]);
  }
  await t.throwsAsync(step([{ slot: 1, tokens: [1] }]), { message: /129 tokens, at most 128/ });
});

test("a prompt whose run fails fails alone; a run that is shared fails all that share the step", async (t) => {
  const failing = model(fakeSession([], ({ added }) => added > 1));
  const [single, prompt] = await failing.step([
    { slot: 0, tokens: [1] },
    { slot: 1, tokens: [1, 2] },
  ]);
  t.deepEqual([...(single as Float32Array)], [1, 1, 0]);
  t.is((prompt as Error).message, "no luck");
  const shared = model(fakeSession([], ({ added }) => added === 1));
  await t.throwsAsync(shared.step([{ slot: 0, tokens: [1] }]), { message: "no luck" });
});

test("outputs of another shape or type are refused", async (t) => {
  const changed = (change: (tensor: Tensor) => Tensor): Promise<unknown> => {
    const { run } = fakeSession([]);
    const session: TensorSession = {
      run: async (inputs, names) => (await run(inputs, names)).map(change),
    };
    return model(session).step([{ slot: 0, tokens: [1] }]);
  };
  await t.throwsAsync(
    changed((tensor) => ({ ...tensor, datatype: "FP64" }) as Tensor),
    {
      message: /gave FP64, expected FP32/,
    },
  );
  await t.throwsAsync(
    changed((tensor) => ({ ...tensor, bytes: tensor.bytes!.subarray(0, 4) }) as Tensor),
  );
});
