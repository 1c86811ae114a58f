import type { Registry } from "prom-client";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Log } from "../observability/log.ts";
import { TraceControl } from "../observability/trace-control.ts";
import { TraceFolder } from "../observability/trace-folder.ts";
import type { ServeValues } from "./serve-values.ts";

/**
 * Makes what traces calls; nothing is traced until a call of TraceSetting asks for it.
 *
 * @param suffix - put behind the names of files, so that each of several processes has its own
 * @throws TensorwireError `SETTING_INVALID` if the folder cannot be made or read
 */
export async function openTraces(
  values: Pick<ServeValues, "trace-dir" | "trace-dir-limit">,
  suffix: string,
  registry: Registry,
  log: Log,
): Promise<TraceControl> {
  const { "trace-dir": path, "trace-dir-limit": limitBytes } = values;
  if (path === undefined) return new TraceControl(undefined);
  try {
    return new TraceControl(await TraceFolder.open({ path, limitBytes, suffix, registry, log }));
  } catch (error) {
    const message = `setting trace-dir: ${messageOf(error)}`;
    throw new TensorwireError("SETTING_INVALID", message, {}, { cause: error });
  }
}
