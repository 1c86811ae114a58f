import { create, type DescMessage } from "@bufbuild/protobuf";
import type { CallContext } from "../call-context.ts";
import type { InferenceBackend } from "../inference-backend.ts";
import { jsonResponse } from "./json-response.ts";
import type { Answer } from "./rest-call.ts";

/** Passes a call on with the region's name; the backend says what it does with it. */
export function answerByBackend<K extends keyof InferenceBackend>(
  rpc: K,
  schema: DescMessage,
): Answer {
  return async ({ match, context, options }) => {
    const call = options.backend[rpc] as unknown as (
      request: unknown,
      context: CallContext,
    ) => Promise<object>;
    const message = create(schema, { name: match.region } as never);
    return jsonResponse(200, JSON.stringify(await call(message, context)));
  };
}
