import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { inferResponseMessage } from "../infer-messages.ts";
import { metadataOf } from "./answer-models.ts";
import { parseJsonObject } from "./json-object.ts";
import { jsonResponse } from "./json-response.ts";
import { decodePredict, encodePredict } from "./predict-v1.ts";
import { readBody } from "./read-body.ts";
import type { RestCall } from "./rest-call.ts";

/** Prediction in KServe's v1 form. */
export async function predictV1(call: RestCall): Promise<UniversalServerResponse> {
  const { match, context, request, options } = call;
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const { inputs } = await metadataOf(call);
  const decoded = decodePredict(match.model, body, inputs);
  const response = await options.backend.modelInfer(decoded.request, context);
  return jsonResponse(200, encodePredict(inferResponseMessage(response), decoded.form));
}

/** Refuses explanations, for which a model needs an explainer. */
export async function explainV1({ match }: RestCall): Promise<UniversalServerResponse> {
  throw new TensorwireError(
    "RPC_UNSUPPORTED",
    `:explain is not served: model "${match.model}" has no explainer`,
    {
      model: match.model,
    },
  );
}
