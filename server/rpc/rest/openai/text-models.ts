import { create } from "@bufbuild/protobuf";
import {
  ModelMetadataRequestSchema,
  type ModelMetadataResponse,
  ModelMetadataResponseSchema,
  RepositoryIndexRequestSchema,
} from "../../../../gen/inference/grpc_service_pb.ts";
import { fromUnknown } from "../../../errors/from-unknown.ts";
import { modelNotText } from "../../../errors/generation-errors.ts";
import type { RestCall } from "../rest-call.ts";

/** A model that takes text_input and answers text_output. */
export interface TextModel {
  readonly name: string;
  /** Shape of text_input with a single text. */
  readonly shape: readonly number[];
  readonly outputs: ReadonlySet<string>;
}

/**
 * Finds a model that generates text.
 *
 * @throws TensorwireError `MODEL_NOT_TEXT`, and what says that there is no such model, or not ready
 */
export async function findTextModel(call: RestCall, name: string): Promise<TextModel> {
  const model = textModel(name, await metadataFor(call, name));
  if (!model) throw modelNotText(name);
  return model;
}

/** Names of the models that generate text and take requests. */
export async function textModelNames(call: RestCall): Promise<string[]> {
  const { backend } = call.options;
  const request = create(RepositoryIndexRequestSchema, { ready: true });
  const { models } = await backend.repositoryIndex(request, call.context);
  const names = new Set((models ?? []).map(({ name }) => name ?? ""));
  const found = await Promise.all(Array.from(names, (name) => nameIfText(call, name)));
  return found.flatMap((name) => name ?? []);
}

async function nameIfText(call: RestCall, name: string): Promise<string | undefined> {
  try {
    return textModel(name, await metadataFor(call, name))?.name;
  } catch (thrown) {
    const { reason } = fromUnknown(thrown);
    // It was unloaded since the list was made.
    if (reason.startsWith("MODEL_")) return undefined;
    throw thrown;
  }
}

async function metadataFor(call: RestCall, name: string): Promise<ModelMetadataResponse> {
  const request = create(ModelMetadataRequestSchema, { name });
  const metadata = await call.options.backend.modelMetadata(request, call.context);
  return create(ModelMetadataResponseSchema, metadata);
}

function textModel(
  name: string,
  { inputs, outputs }: ModelMetadataResponse,
): TextModel | undefined {
  const input = inputs.find((each) => each.name === "text_input" && each.datatype === "BYTES");
  const output = outputs.find((each) => each.name === "text_output" && each.datatype === "BYTES");
  if (!input || !output) return undefined;
  const shape = input.shape.map((size) => (size < 0n ? 1 : Number(size)));
  return { name, shape, outputs: new Set(outputs.map((each) => each.name)) };
}
