import type { InferResponse } from "../rpc/infer-messages.ts";
import { joinBytesElements } from "../tensor/bytes-elements.ts";
import { encodeContents, hasContentsField } from "../tensor/contents.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The part of a response that holds the outputs. */
export type EncodedOutputs = Pick<InferResponse, "outputs" | "rawOutputContents">;

/**
 * Writes outputs in the form in which the inputs came. Raw and typed contents do not mix in one
 * response, so one output without a field for typed contents (FP16, BF16) makes all of them raw.
 */
export function encodeOutputs(outputs: readonly Tensor[], form: "raw" | "typed"): EncodedOutputs {
  const raw = form === "raw" || outputs.some(({ datatype }) => !hasContentsField(datatype));
  if (!raw) {
    return {
      outputs: outputs.map((tensor) => ({ ...header(tensor), contents: encodeContents(tensor) })),
    };
  }
  return {
    outputs: outputs.map(header),
    rawOutputContents: outputs.map((tensor) => tensor.bytes ?? joinBytesElements(tensor.elements)),
  };
}

function header({ name, datatype, shape }: Tensor): {
  name: string;
  datatype: string;
  shape: bigint[];
} {
  return { name, datatype, shape: shape.map(BigInt) };
}
