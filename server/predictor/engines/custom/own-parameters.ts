import type { Parameter } from "../../../model/thread-messages.ts";
import type { CallOptions } from "../../call-options.ts";
import { reservedParameters } from "../../reserved-parameters.ts";

/** Parameters of a request that a model sees: all but those that the protocol reserves. */
export function ownParameters(
  given: CallOptions["parameters"],
): Readonly<Record<string, Parameter>> {
  const parameters: Record<string, Parameter> = {};
  for (const [name, { parameterChoice }] of Object.entries(given)) {
    const { value } = parameterChoice;
    if (value !== undefined && !reservedParameters.has(name)) parameters[name] = value;
  }
  return parameters;
}
