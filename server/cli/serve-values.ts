import type { serveSettings } from "../config/serve-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { parseReplicas, replicaWindow } from "./replica-bounds.ts";

/** Settled settings of `tensorwire serve`. */
export type ServeValues = SettingValues<typeof serveSettings>;

/**
 * Checks what no setting can see alone.
 *
 * @param repositories - those given as arguments included
 * @throws TensorwireError `SETTING_INVALID` that lists every contradiction
 */
export function checkServeValues(values: ServeValues, repositories: readonly string[]): void {
  const problems: string[] = [];
  if (repositories.length === 0) {
    problems.push(
      "no model repository is given; name a folder or an .onnx file: tensorwire serve ./models",
    );
  }
  if ((values["tls-cert"] === undefined) !== (values["tls-key"] === undefined))
    problems.push("--tls-cert and --tls-key belong together; one of them is missing");
  if (values["tls-client-ca"] !== undefined && values["tls-cert"] === undefined)
    problems.push("--tls-client-ca needs --tls-cert and --tls-key");
  const {
    "jwt-issuer": issuer,
    "jwt-audience": { length: audiences },
    "jwt-jwks": jwks,
  } = values;
  if (
    (issuer === undefined) !== (jwks === undefined) ||
    (issuer === undefined) !== (audiences === 0)
  )
    problems.push("--jwt-issuer, --jwt-audience and --jwt-jwks belong together; one is missing");
  if (jwks !== undefined && /^https?:/i.test(jwks) && !URL.canParse(jwks))
    problems.push(`--jwt-jwks: got ${jwks}, expected a file or a URL such as https://issuer/jwks`);
  try {
    if (parseReplicas(values.replicas) && values.workers !== 1)
      problems.push("--replicas and --workers both say how many processes there are; give one");
  } catch (error) {
    problems.push(messageOf(error));
  }
  const { "replica-window": window } = values;
  if (window < replicaWindow.least || window > replicaWindow.most)
    problems.push(`--replica-window: got ${window} ms, expected 6s to 1h`);
  if (values["load-model"].length > 0 && values["model-control-mode"] !== "explicit")
    problems.push("--load-model means something in --model-control-mode explicit only");
  if (values["max-connection-memory"] < values["max-message-size"]) {
    problems.push(
      "--max-connection-memory is less than --max-message-size: the largest message would never be taken",
    );
  }
  const memory = values["max-request-memory"];
  if (memory !== undefined && memory < values["max-message-size"]) {
    problems.push(
      "--max-request-memory is less than --max-message-size: the largest message would never be taken",
    );
  }
  if (problems.length > 0) {
    throw new TensorwireError("SETTING_INVALID", problems.join("\n"), {
      problems: `${problems.length}`,
    });
  }
}
