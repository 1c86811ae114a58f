import { ConnectError } from "@connectrpc/connect";
import { InferenceError } from "../../clients/typescript/src/inference-error.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { modelExecutionFailed, modelInputRefused } from "../errors/model-errors.ts";
import { isReason } from "../errors/registry.ts";
import { errorDomain, TensorwireError } from "../errors/tensorwire-error.ts";
import { isInputError } from "./input-error.ts";

/** The error that a call gets for what a model threw. */
export function failureOf(model: string, thrown: unknown): TensorwireError {
  if (isInputError(thrown)) return modelInputRefused(model, thrown.message);
  // What the server's own text generator refuses a call for.
  if (thrown instanceof TensorwireError) return thrown;
  // What a call of another model was answered; what tensor() throws is this model's own mistake.
  if (thrown instanceof InferenceError && thrown.cause instanceof ConnectError) {
    const { reason, domain, message, metadata } = thrown;
    if (domain === errorDomain && isReason(reason)) {
      return new TensorwireError(reason, `model "${model}": ${message}`, metadata, {
        cause: thrown,
      });
    }
  }
  return modelExecutionFailed(model, messageOf(thrown), thrown);
}
