import { readFileSync } from "node:fs";
import { createClient, type TensorwireClient } from "../../clients/typescript/src/node.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";

/** Settings that say which server to call. */
export interface ServerValues {
  readonly url: string;
  readonly "tls-ca": string | undefined;
  readonly deadline: number;
}

/**
 * Makes the client of a command.
 *
 * @throws TensorwireError `SETTING_INVALID` if the authority cannot be read
 * @throws InferenceError `PARAMETER_INVALID` for an impossible address
 */
export function connectServer(values: ServerValues): TensorwireClient {
  const { url, "tls-ca": ca, deadline } = values;
  return createClient(url, {
    // Without one a server that does not answer would be waited for without end.
    timeoutMs: deadline,
    ...(ca === undefined ? {} : { tls: { ca: readAuthority(ca) } }),
  });
}

function readAuthority(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new TensorwireError("SETTING_INVALID", `setting tls-ca: ${messageOf(error)}`, {});
  }
}
