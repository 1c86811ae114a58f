import type { TensorwireError } from "../errors/tensorwire-error.ts";
import { statusFields } from "../rpc/status-fields.ts";
import type { CallerProtocol, FailureAnswer } from "../wire/client/forward-failure.ts";
import type { OutgoingField } from "../wire/http2/hpack/hpack-encoder.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";

/** An answer of text, as Go's http.Error writes it: with a line end, and not to be guessed at. */
export function textAnswer(status: number, text: string, head: RequestHead): FailureAnswer {
  return answer(status, `${text}\n`, head, [["x-content-type-options", "nosniff"]]);
}

/** An answer of text as it stands. */
export function plainAnswer(status: number, text: string, head: RequestHead): FailureAnswer {
  return answer(status, text, head, []);
}

/** An answer without content. */
export function emptyAnswer(status: number, fields: readonly OutgoingField[] = []): FailureAnswer {
  return {
    fields: [[":status", `${status}`], ...fields, ["content-length", "0"]],
    body: undefined,
  };
}

function answer(
  status: number,
  text: string,
  head: RequestHead,
  more: readonly OutgoingField[],
): FailureAnswer {
  const body = Buffer.from(text, "utf8");
  return {
    fields: [
      [":status", `${status}`],
      ["content-type", "text/plain; charset=utf-8"],
      ...more,
      ["content-length", `${body.byteLength}`],
    ],
    body: head.method === "HEAD" ? undefined : body,
  };
}

/**
 * What a caller is answered whose call is not sent to the server: a status of gRPC in an answer of trailers
 * only, with what gRPC's retries look for; else what Knative sends.
 *
 * @param text - for callers of HTTP
 */
export function refusalAnswer(
  error: TensorwireError,
  protocol: CallerProtocol,
  head: RequestHead,
  text: string,
): FailureAnswer {
  if (protocol === "http") {
    const refusal = textAnswer(error.httpStatus, text, head);
    // Knative knows no rates, so nobody expects its answer here.
    if (error.reason !== "RATE_LIMITED") return refusal;
    const seconds = Math.ceil(Number(error.metadata.retryAfterMs) / 1000);
    return { ...refusal, fields: [...refusal.fields, ["retry-after", `${Math.max(1, seconds)}`]] };
  }
  return { fields: grpcFields(error, head), body: undefined };
}

/** An answer of trailers only. */
export function grpcFields(error: TensorwireError, head: RequestHead): OutgoingField[] {
  const { retryAfterMs } = error.metadata;
  return [
    [":status", "200"],
    ["content-type", head.get("content-type") ?? "application/grpc"],
    ...statusFields(error),
    ...(retryAfterMs === undefined
      ? []
      : [["grpc-retry-pushback-ms", retryAfterMs] satisfies OutgoingField]),
  ];
}
