import test from "ava";
import { registry } from "../../server/errors/registry.ts";
import { tritonFailure } from "../../server/predictor/failure-reason.ts";

test("what the queue refuses is REJECTED, who leaves is CANCELED, what the model fails at is BACKEND", (t) => {
  const found = Object.keys(registry).map((reason) => [reason, tritonFailure(reason)] as const);
  const named = found.filter(([, failure]) => failure !== "OTHER");
  t.deepEqual(Object.fromEntries(named), {
    QUEUE_FULL: "REJECTED",
    QUEUE_TIMEOUT: "REJECTED",
    CALL_CANCELLED: "CANCELED",
    DEADLINE_EXCEEDED: "CANCELED",
    MODEL_EXECUTION_FAILED: "BACKEND",
    MODEL_INPUT_REFUSED: "BACKEND",
    WORKER_LOST: "BACKEND",
    SEQUENCE_TIMEOUT: "REJECTED",
    SEQUENCE_CANCELLED: "CANCELED",
    SEQUENCE_LOST: "BACKEND",
  });
  t.is(tritonFailure("SHAPE_MISMATCH"), "OTHER");
  t.is(tritonFailure("toString"), "OTHER");
});
