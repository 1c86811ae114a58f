import type { CallTrace } from "./call-trace.ts";

/**
 * From the clock of `performance.now()` to the machine's monotonic one, in ns: with it the moments of
 * several processes of one machine can be compared. Numbers hold it to 1 ns for 104 days, to 2 ns for 208.
 */
const offsetNs = Number(process.hrtime.bigint()) - performance.now() * 1e6;

/**
 * Writes traces as Triton does: for each call an object that says which call it is, and one for each
 * moment. What is given back stands between `[` and `]`.
 *
 * @see https://github.com/triton-inference-server/server/blob/main/docs/user_guide/trace.md
 */
export function traceJson(calls: readonly CallTrace[]): string {
  return calls.map(callJson).join(",");
}

function callJson({ model, requestId, id, parentId, stamps }: CallTrace): string {
  const head = {
    id,
    model_name: model.name,
    model_version: Number(model.version),
    ...(requestId === "" ? {} : { request_id: requestId }),
    ...(parentId === 0 ? {} : { parent_id: parentId }),
  };
  const moments = stamps.map(
    ([name, ms]) =>
      `{"id":${id},"timestamps":[{"name":"${name}","ns":${Math.round(ms * 1e6 + offsetNs)}}]}`,
  );
  return [JSON.stringify(head), ...moments].join(",");
}
