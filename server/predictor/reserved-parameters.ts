/**
 * Request parameters that the protocol reserves: they say how a call is queued and how it is answered. A model
 * does not see them, and they do not decide what it computes.
 */
export const reservedParameters: ReadonlySet<string> = new Set([
  "sequence_id",
  "sequence_start",
  "sequence_end",
  "priority",
  "timeout",
  "binary_data_output",
  "triton_enable_empty_final_response",
]);
