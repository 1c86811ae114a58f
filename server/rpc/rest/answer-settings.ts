import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  LogSettingsRequestSchema,
  LogSettingsResponseSchema,
  TraceSettingRequestSchema,
  TraceSettingResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { malformed, parseJsonObject } from "./json-object.ts";
import { jsonResponse } from "./json-response.ts";
import { readBody } from "./read-body.ts";
import type { RestCall } from "./rest-call.ts";

/** What is logged, and how; a body changes it. */
export async function logSettings(call: RestCall): Promise<UniversalServerResponse> {
  const { context, options } = call;
  const settings = Object.fromEntries(
    Object.entries(await bodyOf(call)).map(([name, value]) => [name, logValue(name, value)]),
  );
  const answer = await options.backend.logSettings(
    create(LogSettingsRequestSchema, { settings }),
    context,
  );
  const shown = Object.entries(create(LogSettingsResponseSchema, answer).settings).map(
    ([name, { parameterChoice }]) => [name, parameterChoice.value],
  );
  return jsonResponse(200, JSON.stringify(Object.fromEntries(shown)));
}

/** Which calls are traced, of the server or of a model; a body changes it. */
export async function traceSetting(call: RestCall): Promise<UniversalServerResponse> {
  const { match, context, options } = call;
  const settings = Object.fromEntries(
    Object.entries(await bodyOf(call)).map(([name, value]) => [
      name,
      { value: texts(name, value) },
    ]),
  );
  const answer = await options.backend.traceSetting(
    create(TraceSettingRequestSchema, { settings, modelName: match.model }),
    context,
  );
  const shown = Object.entries(create(TraceSettingResponseSchema, answer).settings).map(
    // The level is a list, as there may be several.
    ([name, { value }]) => [name, name === "trace_level" ? value : (value[0] ?? "")],
  );
  return jsonResponse(200, JSON.stringify(Object.fromEntries(shown)));
}

/** A GET changes nothing, whatever body it has. */
async function bodyOf({ request, options }: RestCall): Promise<Readonly<Record<string, unknown>>> {
  if (request.method !== "POST") return {};
  return parseJsonObject(await readBody(request, options.maxBodyBytes));
}

type LogValue = NonNullable<
  NonNullable<MessageInitShape<typeof LogSettingsRequestSchema>["settings"]>[string]
>;

function logValue(name: string, value: unknown): LogValue {
  // A setting without a value stays as it is.
  if (value === null) return {};
  if (typeof value === "boolean") return { parameterChoice: { case: "boolParam", value } };
  if (typeof value === "string") return { parameterChoice: { case: "stringParam", value } };
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 32)
    return { parameterChoice: { case: "uint32Param", value } };
  throw malformed(`"${name}" must be true, false, a text or a whole number from 0 on`);
}

/** The values of a trace setting as texts; `null` and an empty list clear it. */
function texts(name: string, value: unknown): string[] {
  if (value === null) return [];
  if (typeof value === "string") return [value];
  if (typeof value === "number" || typeof value === "bigint") return [String(value)];
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw malformed(`"${name}" must be a text, a number, a list of texts, or null to clear it`);
}
