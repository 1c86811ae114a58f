import type { TensorwireClient } from "./client.ts";
import type { CallOptions } from "./client-options.ts";
import type { ParameterInput } from "./infer-parameter.ts";
import { InferenceError } from "./inference-error.ts";
import { tensor } from "./tensor.ts";
import type { TypedTensor } from "./typed-tensor.ts";

/** Options of {@link generateText}. */
export interface GenerateTextOptions extends CallOptions {
  /** Version of the model; the server's newest (by its version policy) without it. */
  readonly modelVersion?: string;
  /**
   * What the model takes, for example `max_tokens`, `temperature`, `top_p`, `top_k`, `seed` and `stop`. A
   * list, such as several stop strings, goes as JSON.
   */
  readonly parameters?: Readonly<Record<string, ParameterInput | readonly string[]>>;
}

/** A piece of a generated text. */
export interface TextPiece {
  /** Follows on the text of the piece before. */
  readonly text: string;
  /** `stop` or `length` in the last piece, if the model says so; "" before. */
  readonly finishReason: string;
}

/**
 * Goes on with a text, by a model that takes `text_input` and answers `text_output`. Leaving the loop ends
 * the generation. Node only: it is a stream both ways.
 *
 * ```ts
 * const parameters = { max_tokens: 80, temperature: 0.7, stop: ["\n"] };
 * for await (const { text } of generateText(client, "opticks", "The Rays of ", { parameters })) {
 *   process.stdout.write(text);
 * }
 * ```
 *
 * @throws InferenceError from the iteration, whatever the call or the model fails with
 */
export async function* generateText(
  client: Pick<TensorwireClient, "inferStream">,
  model: string,
  prompt: string,
  options: GenerateTextOptions = {},
): AsyncGenerator<TextPiece, void, undefined> {
  const { modelVersion, parameters = {}, ...call } = options;
  const headers = new Headers(call.headers);
  // A failure of the request then is one of the call, with its status and reason.
  headers.set("triton_grpc_error", "true");
  const request = {
    model,
    inputs: { text_input: tensor([1], [prompt]) },
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([name, value]) => [
        name,
        isList(value) ? JSON.stringify(value) : value,
      ]),
    ),
    ...(modelVersion === undefined ? {} : { modelVersion }),
  };
  for await (const { result, error } of client.inferStream([request], { ...call, headers })) {
    if (error) throw error;
    const { text_output: text, finish_reason: reason } = result.outputs;
    if (text?.datatype !== "BYTES") {
      throw new InferenceError(
        `model "${model}" gave ${text?.datatype ?? "no"} text_output, expected BYTES; it is no model of text`,
        { code: "INVALID_ARGUMENT" },
      );
    }
    yield { text: joined(text), finishReason: joined(reason) };
  }
}

function joined(given: TypedTensor | undefined): string {
  return given?.datatype === "BYTES" ? given.strings().join("") : "";
}

function isList(value: ParameterInput | readonly string[]): value is readonly string[] {
  return Array.isArray(value);
}
