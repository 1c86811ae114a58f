import type { OutgoingHead } from "../wire/client/forwarded-heads.ts";
import { HeaderTemplate, type OutgoingField } from "../wire/http2/hpack/hpack-encoder.ts";
import { type CallTrace, traceParentText } from "./trace-context.ts";

/** The head for the server with the place of this call in a trace, instead of the caller's. */
export function tracedHead(outgoing: OutgoingHead, trace: CallTrace): readonly OutgoingField[] {
  const fields = outgoing instanceof HeaderTemplate ? outgoing.fields : outgoing;
  // Without a trace of the caller there is nothing that its state could be of.
  const kept = fields.filter(
    ([name]) => name !== "traceparent" && (trace.parent !== undefined || name !== "tracestate"),
  );
  return [...kept, ["traceparent", traceParentText(trace)]];
}
