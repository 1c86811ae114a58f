import type { Registry } from "prom-client";
import { AccessControl } from "../access/access-control.ts";
import { parseAccessFile } from "../access/access-file.ts";
import { WatchedFile } from "../access/watched-file.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Log } from "../observability/log.ts";
import type { ServeValues } from "./serve-values.ts";

/** Access control of a server, and the files that it follows. */
export interface ServeAccess {
  readonly control: AccessControl;
  /** Follows the files no more. */
  close(): void;
}

/** Whether callers are asked who they are. */
export function asksForCredentials(values: Pick<ServeValues, "api-keys">): boolean {
  return values["api-keys"] !== undefined;
}

/**
 * Makes the access control that the settings ask for; `undefined` if they ask for none.
 *
 * @throws TensorwireError `SETTING_INVALID` if a file cannot be read or is not what it should be
 */
export async function openServeAccess(
  values: ServeValues,
  registry: Registry,
  log: Log,
): Promise<ServeAccess | undefined> {
  if (!asksForCredentials(values)) return undefined;
  const control = new AccessControl({ registry, now: Date.now });
  const files: WatchedFile[] = [];
  const follow = async (
    setting: string,
    path: string,
    take: (text: string) => void,
  ): Promise<void> => {
    try {
      const options = {
        path,
        intervalMs: values["access-reload-interval"],
        take,
        onReload: (outcome: "taken" | "failed") => control.reloaded(outcome),
        log,
      };
      files.push(await WatchedFile.open(options));
    } catch (error) {
      throw settingInvalid(setting, error);
    }
  };
  const keys = values["api-keys"];
  if (keys !== undefined) {
    await follow("api-keys", keys, (text) => control.setTable(parseAccessFile(text, keys)));
  }
  return {
    control,
    close() {
      for (const file of files) file.close();
    },
  };
}

function settingInvalid(setting: string, cause: unknown): TensorwireError {
  const lines = messageOf(cause).split("\n");
  return new TensorwireError(
    "SETTING_INVALID",
    lines.map((line) => `setting ${setting}: ${line}`).join("\n"),
    {},
    { cause },
  );
}
