import type { ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../../support/command.ts";
import { identityModel } from "../../support/onnx-model.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

/** FP32, as ONNX numbers it. */
const float = 1;

/** Starts a server with one model, `identity`, of any number of FP32 values `x`, answered as `y`. */
export async function startIdentity(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<RunningServer> {
  const folder = await temporaryFolder(t, {
    "identity/1/model.onnx": identityModel(float, ["n"]),
  });
  return startServer(t, [folder, ...flags]);
}
