import type { Registry } from "prom-client";
import { AccessControl } from "../access/access-control.ts";
import { type AccessTable, parseAccessFile } from "../access/access-file.ts";
import { WatchedFile } from "../access/watched-file.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Log } from "../observability/log.ts";
import type { TokenIssuer } from "./serve-tokens.ts";
import type { ServeValues } from "./serve-values.ts";

/** Access control of a server, and the files that it follows. */
export interface ServeAccess {
  readonly control: AccessControl;
  /** Follows the files no more. */
  close(): void;
}

/** Whether callers are asked who they are. */
export function asksForCredentials(values: Pick<ServeValues, "api-keys" | "jwt-issuer">): boolean {
  return values["api-keys"] !== undefined || values["jwt-issuer"] !== undefined;
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
  const issuer = await openIssuer(values, log, () => control.forget());
  const control = new AccessControl({ tokens: issuer?.tokens, registry, now: Date.now });
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
    await follow("api-keys", keys, (text) => {
      const table = parseAccessFile(text, keys);
      warnOfCertificates(values, table, log);
      control.setTable(table);
    });
  }
  if (issuer?.file) {
    const { keys, path } = issuer.file;
    await follow("jwt-jwks", path, (text) => {
      keys.take(text);
      control.forget();
    });
  }
  return {
    control,
    close() {
      for (const file of files) file.close();
    },
  };
}

/** What is needed for tokens takes 50 ms to load, which a server without them need not wait for. */
async function openIssuer(
  values: ServeValues,
  log: Log,
  onChange: () => void,
): Promise<TokenIssuer | undefined> {
  if (values["jwt-issuer"] === undefined) return undefined;
  const { tokenIssuer } = await import("./serve-tokens.ts");
  return tokenIssuer(values, log, onChange);
}

function warnOfCertificates(
  values: Pick<ServeValues, "tls-client-ca" | "api-keys">,
  { certificates }: AccessTable,
  log: Log,
): void {
  if (certificates.size === 0 || values["tls-client-ca"] !== undefined) return;
  log.warn(
    { file: values["api-keys"], entries: certificates.size },
    "entries for certificates are of no use without --tls-client-ca: callers are not asked for one",
  );
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
