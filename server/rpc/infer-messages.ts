import { create } from "@bufbuild/protobuf";
import type {
  InferTensorContentsInit,
  ModelInferResponseInit,
} from "../../gen/inference/grpc_service_codec.ts";
import {
  type InferTensorContents,
  InferTensorContentsSchema,
  type ModelInferResponse,
  ModelInferResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";

import type { TypedContents } from "../tensor/contents.ts";

/** Value of a request parameter. */
export interface InferParameterValue {
  readonly parameterChoice: { readonly value?: boolean | bigint | number | string | undefined };
}

type Parameters = Readonly<Record<string, InferParameterValue>>;

/**
 * A ModelInferRequest, whoever decoded it: the generated codec on the fast path, protobuf-es under
 * Connect, or REST. Its bytes are lent for the time of the call.
 */
export interface InferRequest {
  readonly modelName: string;
  readonly modelVersion: string;
  readonly id: string;
  readonly parameters: Parameters;
  readonly inputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: ArrayLike<bigint>;
    readonly parameters: Parameters;
    readonly contents?: TypedContents | undefined;
  }[];
  readonly outputs: readonly { readonly name: string; readonly parameters: Parameters }[];
  readonly rawInputContents: readonly Uint8Array[];
}

/** A ModelInferResponse to be encoded; typed contents may be typed arrays. */
export type InferResponse = ModelInferResponseInit;

/** The response as a message of protobuf-es, whose lists are plain arrays. */
export function inferResponseMessage(response: InferResponse): ModelInferResponse {
  const outputs = response.outputs?.map((output) => ({
    ...output,
    shape: output.shape ? Array.from(output.shape) : [],
    contents: output.contents ? inferContentsMessage(output.contents) : undefined,
  }));
  return create(ModelInferResponseSchema, { ...response, outputs } as ModelInferResponse);
}

/** Typed contents as a message of protobuf-es. */
export function inferContentsMessage(contents: InferTensorContentsInit): InferTensorContents {
  const plain: Record<string, unknown> = {};
  for (const [field, values] of Object.entries(contents)) {
    plain[field] =
      field === "boolContents"
        ? Array.from(values, Boolean)
        : Array.from(values as ArrayLike<never>);
  }
  return create(InferTensorContentsSchema, plain);
}
