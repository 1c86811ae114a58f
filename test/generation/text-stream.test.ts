import test from "ava";
import { callAborted } from "../../server/errors/model-errors.ts";
import { TextStream } from "../../server/generation/text-stream.ts";

const usage = { promptTokens: 2, generatedTokens: 3 };

test("what the reader has not taken comes out as one chunk, its tokens with it", async (t) => {
  const stream = new TextStream(() => {});
  stream.addToken(1, undefined);
  stream.addText("a");
  stream.addToken(2, undefined);
  stream.addText("b");
  stream.addToken(3, undefined);
  t.deepEqual(await stream.next(), { done: false, value: { text: "ab", tokens: [1, 2, 3] } });
  stream.finish("length", usage);
  t.deepEqual(await stream.next(), {
    done: false,
    value: { text: "", tokens: [], finishReason: "length", usage },
  });
  t.deepEqual(await stream.next(), { done: true, value: undefined });
  t.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("a reader that waits is woken by text, not by a token whose text is still held back", async (t) => {
  const stream = new TextStream(() => {});
  const order: string[] = [];
  const next = stream.next().then(({ value }) => order.push(`read ${value?.text}`));
  stream.addToken(1, undefined);
  stream.addText("");
  await new Promise((resolve) => setImmediate(resolve));
  order.push("text");
  stream.addText("x");
  await next;
  t.deepEqual(order, ["text", "read x"]);
});

test("text that came before a failure is read, and then it is thrown once", async (t) => {
  const stream = new TextStream(() => {});
  stream.addText("a");
  stream.fail(callAborted("deadline", "at a"));
  t.is((await stream.next()).value?.text, "a");
  await t.throwsAsync(stream.next(), { message: /deadline/ });
  t.true((await stream.next()).done);
});

test("leaving the loop cancels, unless it has ended by itself", async (t) => {
  let cancels = 0;
  const left = new TextStream(() => cancels++);
  left.addText("a");
  left.addText("b");
  for await (const { text } of left) {
    t.is(text, "ab");
    break;
  }
  t.is(cancels, 1);
  t.true((await left.next()).done);
  const ended = new TextStream(() => cancels++);
  ended.finish("stop", usage);
  for await (const { finishReason } of ended) t.is(finishReason, "stop");
  t.is(cancels, 1);
});

test("logprobs come with their tokens", async (t) => {
  const stream = new TextStream(() => {});
  const logprobs = { token: 1, text: "a", logprob: -1, top: [] };
  stream.addToken(1, logprobs);
  stream.addText("a");
  t.deepEqual((await stream.next()).value?.logprobs, [logprobs]);
  stream.addToken(2, { ...logprobs, token: 2 });
  stream.finish("stop", usage);
  t.deepEqual((await stream.next()).value?.logprobs, [{ ...logprobs, token: 2 }]);
});
