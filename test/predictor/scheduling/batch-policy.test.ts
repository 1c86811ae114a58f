import test from "ava";
import { decideBatch } from "../../../server/predictor/scheduling/batch-policy.ts";

const plain = { maxRows: 8, preferredRows: [], maxDelayMs: 0 };
const delayed = { maxRows: 8, preferredRows: [4, 8], maxDelayMs: 10 };
const send = (calls: number) => ({ kind: "send", calls });
const wait = (ms: number) => ({ kind: "wait", ms });

test("without a delay what is there is sent, up to the maximum", (t) => {
  t.deepEqual(decideBatch(plain, [1], false, 0), send(1));
  t.deepEqual(decideBatch(plain, [1, 1, 1], false, 0), send(3));
  t.deepEqual(decideBatch(plain, [3, 3, 3], false, 0), send(2));
  t.deepEqual(decideBatch(plain, Array(20).fill(1), false, 0), send(8));
});

test("a call of more rows than the maximum goes alone", (t) => {
  t.deepEqual(decideBatch(plain, [9, 1], false, 0), send(1));
  t.deepEqual(decideBatch(plain, [1, 9], false, 0), send(1));
});

test("with a delay a batch waits until it is full, closed, preferred or old", (t) => {
  t.deepEqual(decideBatch({ ...delayed, preferredRows: [] }, [1, 1], false, 3), wait(7));
  t.deepEqual(decideBatch({ ...delayed, preferredRows: [] }, [1, 1], false, 10), send(2));
  t.deepEqual(decideBatch({ ...delayed, preferredRows: [] }, [1, 1], true, 3), send(2));
  t.deepEqual(decideBatch({ ...delayed, preferredRows: [] }, [4, 4], false, 0), send(2));
});

test("the largest preferred size that is reached", (t) => {
  // 4 is reached, 8 may still be: there is time.
  t.deepEqual(decideBatch(delayed, [2, 2, 1], false, 0), wait(10));
  t.deepEqual(decideBatch(delayed, [2, 2, 1], false, 10), send(2));
  t.deepEqual(decideBatch(delayed, [2, 2, 2, 2, 1], false, 0), send(4));
  // No preferred size is met: what is there.
  t.deepEqual(decideBatch(delayed, [3], false, 10), send(1));
  t.deepEqual(decideBatch({ ...plain, preferredRows: [4] }, [2, 2, 1], false, 0), send(2));
});
