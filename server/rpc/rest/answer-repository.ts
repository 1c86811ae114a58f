import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  RepositoryIndexRequestSchema,
  RepositoryModelLoadRequestSchema,
  RepositoryModelUnloadRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { asObject, type JsonObject, malformed, member, parseJsonObject } from "./json-object.ts";
import { jsonResponse } from "./json-response.ts";
import { readBody } from "./read-body.ts";
import type { RestCall } from "./rest-call.ts";

/** Every model and version with its state. */
export async function repositoryIndex({
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const ready = member(body, "ready") ?? false;
  if (typeof ready !== "boolean") throw malformed('"ready" of the body must be true or false');
  const { models } = await options.backend.repositoryIndex(
    create(RepositoryIndexRequestSchema, { ready }),
    context,
  );
  return jsonResponse(
    200,
    JSON.stringify(
      (models ?? []).map(({ name, version, state, reason }) => ({ name, version, state, reason })),
    ),
  );
}

/** Loads a model, or loads it again. */
export async function load({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const parameters = repositoryParameters(
    parseJsonObject(await readBody(request, options.maxBodyBytes)),
  );
  const message = create(RepositoryModelLoadRequestSchema, { modelName: match.model, parameters });
  const { modelName, isLoaded } = await options.backend.repositoryModelLoad(message, context);
  return jsonResponse(200, JSON.stringify({ name: modelName, load: isLoaded }));
}

/** Unloads a model. */
export async function unload({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const parameters = repositoryParameters(
    parseJsonObject(await readBody(request, options.maxBodyBytes)),
  );
  const message = create(RepositoryModelUnloadRequestSchema, {
    modelName: match.model,
    parameters,
  });
  const { modelName, isUnloaded } = await options.backend.repositoryModelUnload(message, context);
  return jsonResponse(200, JSON.stringify({ name: modelName, unload: isUnloaded }));
}

type RepositoryParameters = NonNullable<
  MessageInitShape<typeof RepositoryModelLoadRequestSchema>["parameters"]
>;

function repositoryParameters(body: JsonObject): RepositoryParameters {
  const given = asObject(member(body, "parameters") ?? {}, '"parameters" of the body');
  const entries = Object.entries(given).map(([name, value]) => [
    name,
    { parameterChoice: name.startsWith("file:") ? fileChoice(name, value) : choice(value) },
  ]);
  return Object.fromEntries(entries) as RepositoryParameters;
}

/** The contents of a file of the model, in base64. */
function fileChoice(
  name: string,
  value: unknown,
): NonNullable<RepositoryParameters[string]["parameterChoice"]> {
  if (typeof value !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) {
    throw malformed(`"${name}" of the parameters must be a file's contents in base64`);
  }
  return { case: "bytesParam", value: Buffer.from(value, "base64") };
}

/** A configuration may stand as the object that it is, where Triton takes its text. */
function choice(value: unknown): NonNullable<RepositoryParameters[string]["parameterChoice"]> {
  if (typeof value === "boolean") return { case: "boolParam", value };
  if (typeof value === "string") return { case: "stringParam", value };
  if (typeof value === "number" && Number.isSafeInteger(value))
    return { case: "int64Param", value: BigInt(value) };
  // In the JSON form of protobuf, which a configuration is read from, large integers are strings.
  const text = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "bigint" ? item.toString() : item,
  );
  return { case: "stringParam", value: text };
}
