import { Code, ConnectError } from "@connectrpc/connect";
import test from "ava";
import { InferenceError, inferenceError } from "../../../clients/typescript/src/inference-error.ts";
import {
  mayRetry,
  retryDelayMs,
  retryPolicy,
} from "../../../clients/typescript/src/retry-policy.ts";
import type { Reason } from "../../../server/errors/registry.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";

function refusal(reason: Reason): InferenceError {
  return inferenceError(new TensorwireError(reason, "no"));
}

function nodeError(fields: Record<string, unknown>): InferenceError {
  const cause = Object.assign(new Error("connect"), fields);
  return inferenceError(new ConnectError("connect", Code.Unavailable, undefined, undefined, cause));
}

test("an inference is tried again only where it was certainly not processed", (t) => {
  for (const reason of ["SERVER_DRAINING", "QUEUE_FULL", "MODEL_NOT_READY"] as const) {
    t.true(mayRetry(refusal(reason), "once"), reason);
  }
  for (const reason of ["WORKER_LOST", "MODEL_LOAD_FAILED", "CONTROL_MODE_FORBIDS"] as const) {
    t.false(mayRetry(refusal(reason), "once"), reason);
  }
  t.true(mayRetry(nodeError({ code: "ECONNREFUSED", syscall: "connect" }), "once"));
  t.true(mayRetry(nodeError({ code: "ENOENT", syscall: "connect" }), "once"));
  t.true(mayRetry(nodeError({ code: "ENOTFOUND", syscall: "getaddrinfo" }), "once"));
  t.false(mayRetry(nodeError({ code: "ECONNRESET", syscall: "read" }), "once"));
  t.false(mayRetry(new InferenceError("busy", { code: "UNAVAILABLE" }), "once"));
  const foreign = { code: "UNAVAILABLE", reason: "QUEUE_FULL", domain: "elsewhere" } as const;
  t.false(mayRetry(new InferenceError("busy", foreign), "once"));
});

test("a call without effect is tried again on whatever may pass", (t) => {
  t.true(mayRetry(refusal("WORKER_LOST"), "idempotent"));
  t.true(mayRetry(nodeError({ code: "ECONNRESET", syscall: "read" }), "idempotent"));
  t.true(mayRetry(new InferenceError("busy", { code: "UNAVAILABLE" }), "idempotent"));
  t.false(mayRetry(refusal("MODEL_LOAD_FAILED"), "idempotent"));
  t.false(mayRetry(refusal("MODEL_NOT_FOUND"), "idempotent"));
  t.false(mayRetry(new InferenceError("late", { code: "DEADLINE_EXCEEDED" }), "idempotent"));
});

test("a stream that the server refused was not processed", (t) => {
  const refused = new ConnectError(
    "http/2 stream closed with error code REFUSED_STREAM (0x7)",
    Code.Unavailable,
  );
  t.true(mayRetry(inferenceError(refused), "once"));
});

test("waits double, stay between half and all of their time, and end at the longest", (t) => {
  const policy = retryPolicy({ initialDelayMs: 100, maxDelayMs: 350 });
  const shortest = [1, 2, 3, 4].map((n) => retryDelayMs(policy, n, undefined, () => 0));
  const longest = [1, 2, 3, 4].map((n) => retryDelayMs(policy, n, undefined, () => 1));
  t.deepEqual(shortest, [50, 100, 175, 175]);
  t.deepEqual(longest, [100, 200, 350, 350]);
});

test("what the server asks for is waited in full, with jitter on top", (t) => {
  const policy = retryPolicy({ initialDelayMs: 100 });
  t.is(
    retryDelayMs(policy, 1, 5000, () => 0),
    5000,
  );
  t.is(
    retryDelayMs(policy, 1, 5000, () => 1),
    5050,
  );
});

test("impossible retry options are refused by name", (t) => {
  t.throws(() => retryPolicy({ attempts: 0 }), { message: /retry\.attempts.*got 0/ });
  t.throws(() => retryPolicy({ attempts: 1.5 }), { message: /retry\.attempts/ });
  t.throws(() => retryPolicy({ maxDelayMs: -1 }), { message: /retry\.maxDelayMs/ });
  t.throws(() => retryPolicy({ initialDelayMs: Number.NaN }), { message: /retry\.initialDelayMs/ });
});
