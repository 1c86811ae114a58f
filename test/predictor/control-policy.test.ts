import test from "ava";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { checkControl, checkNearness } from "../../server/predictor/control-policy.ts";
import { SignalCallContext } from "../../server/rpc/call-context.ts";
import { localCall } from "../support/call-context.ts";

const remote = new SignalCallContext(
  new AbortController().signal,
  { address: "192.0.2.1", local: false },
  new Headers(),
);

function reasonOf(action: () => void): string {
  try {
    action();
    return "none";
  } catch (error) {
    return error instanceof TensorwireError ? error.reason : String(error);
  }
}

test("shared memory is registered from this machine, whatever the mode of models", (t) => {
  const here = { allowRemote: false };
  t.is(
    reasonOf(() => checkNearness(here, localCall(), "x")),
    "none",
  );
  t.is(
    reasonOf(() => checkNearness(here, remote, "x")),
    "CONTROL_NOT_LOCAL",
  );
  t.is(
    reasonOf(() => checkNearness({ allowRemote: true }, remote, "x")),
    "none",
  );
});

test("models are loaded where the mode allows it, and from this machine", (t) => {
  for (const [mode, local, other] of [
    ["default", "none", "CONTROL_NOT_LOCAL"],
    ["explicit", "none", "CONTROL_NOT_LOCAL"],
    ["none", "CONTROL_MODE_FORBIDS", "CONTROL_MODE_FORBIDS"],
    ["poll", "CONTROL_MODE_FORBIDS", "CONTROL_MODE_FORBIDS"],
  ] as const) {
    const policy = { mode, allowRemote: false };
    t.is(
      reasonOf(() => checkControl(policy, localCall(), "x")),
      local,
    );
    t.is(
      reasonOf(() => checkControl(policy, remote, "x")),
      other,
    );
  }
});
