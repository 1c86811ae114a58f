import { TensorwireError } from "./tensorwire-error.ts";

/** As many generations wait for a slot as may. */
export function generationQueueFull(model: string, limit: number): TensorwireError {
  return new TensorwireError(
    "QUEUE_FULL",
    `model "${model}": all slots are taken and ${limit} generations wait, which is the limit; try again later`,
    { model, maxWaiting: `${limit}`, retryAfterMs: "1000" },
  );
}

/** A call that is to have one answer was given none, or several that are no pieces of a text. */
export function generateNeedsStream(model: string, answers: "none" | "several"): TensorwireError {
  return new TensorwireError(
    "DECOUPLED_NEEDS_STREAM",
    `model "${model}" gave ${answers === "none" ? "no answer" : "several answers"}: generate expects model to produce exactly 1 response, or pieces of text_output; use generate_stream`,
    { model, answers },
  );
}

/** Pieces of a text that are to be one answer are too long for it. */
export function answerTooLarge(model: string, limitBytes: number): TensorwireError {
  return new TensorwireError(
    "ANSWER_TOO_LARGE",
    `model "${model}": its text is longer than ${limitBytes} bytes, the limit of an answer that is whole; stream it, bound its tokens, or raise --max-message-size`,
    { model, limitBytes: `${limitBytes}` },
  );
}

/** A model without the input and output that texts go in and out by. */
export function modelNotText(model: string): TensorwireError {
  return new TensorwireError(
    "MODEL_NOT_TEXT",
    `model "${model}" does not generate text: it needs an input text_input and an output text_output, both BYTES; GET /openai/v1/models lists those that have them`,
    { model },
  );
}

/** A field of a request that this server, or its model, does not act on. */
export function parameterUnsupported(parameter: string, why: string): TensorwireError {
  return new TensorwireError(
    "PARAMETER_UNSUPPORTED",
    `"${parameter}" is not supported: ${why}; leave it out`,
    { parameter },
  );
}
