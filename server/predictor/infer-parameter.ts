import type { InferParameterValue } from "../rpc/infer-messages.ts";

type Parameters = Readonly<Record<string, InferParameterValue>>;

/** Value of a request parameter, whatever its type; `undefined` if it is absent or empty. */
export function parameterValue(
  parameters: Parameters,
  name: string,
): boolean | bigint | number | string | undefined {
  return Object.hasOwn(parameters, name) ? parameters[name]?.parameterChoice.value : undefined;
}
