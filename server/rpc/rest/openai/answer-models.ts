import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { jsonResponse } from "../json-response.ts";
import type { RestCall } from "../rest-call.ts";
import { findTextModel, textModelNames } from "./text-models.ts";

/** When this server began, in Unix seconds: when a model was made is not known to it. */
const created = Math.floor((performance.timeOrigin + performance.now()) / 1000);

/** Models that generate text. */
export async function listModelsOpenai(call: RestCall): Promise<UniversalServerResponse> {
  const data = (await textModelNames(call)).map(modelObject);
  return jsonResponse(200, JSON.stringify({ object: "list", data }));
}

/** One of them. */
export async function modelOpenai(call: RestCall): Promise<UniversalServerResponse> {
  const { name } = await findTextModel(call, call.match.model);
  return jsonResponse(200, JSON.stringify(modelObject(name)));
}

function modelObject(id: string): object {
  return { id, object: "model", created, owned_by: "tensorwire" };
}
