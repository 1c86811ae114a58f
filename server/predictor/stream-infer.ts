import { fromUnknown } from "../errors/from-unknown.ts";
import { AbortGroup } from "../rpc/abort-group.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest } from "../rpc/infer-messages.ts";
import type { StreamInferResponse } from "../rpc/inference-backend.ts";
import { abortError } from "./abort-error.ts";
import { Handover } from "./handover.ts";
import type { AnsweringModel } from "./shared-memory/memory-call.ts";

/** Requests of one stream that are under way at once; the next is read when one of them has ended. */
const mostAtOnce = 64;

/**
 * Answers the requests of ModelStreamInfer, several at once. Answers of models with one answer come in the
 * order of the requests; those of decoupled models come as they are made, in order within their request. A
 * request that fails is answered with its error and does not end the stream.
 *
 * The next answer is made ready while the last one is on its way; a reader that is slow holds up the
 * models, not the memory.
 *
 * @param resolve - gives the model of a request, or throws
 * @param throws - a request that fails ends the stream with its status instead
 * @throws TensorwireError `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what reading the requests threw
 */
export async function* streamInfer(
  requests: AsyncIterable<InferRequest>,
  call: CallAbort,
  resolve: (request: InferRequest) => AnsweringModel,
  throws: boolean,
): AsyncGenerator<StreamInferResponse> {
  const group = new AbortGroup(call);
  const answers = new Handover<StreamInferResponse>();
  const reading = readAll(requests, group, answers, resolve);
  // What it throws reaches the reader through the hand-over.
  reading.catch(() => {});
  try {
    for await (const answer of answers.taken()) {
      if (throws && answer.error) throw answer.error;
      yield answer;
    }
  } finally {
    answers.stop();
    group.close();
  }
}

async function readAll(
  requests: AsyncIterable<InferRequest>,
  group: AbortGroup,
  answers: Handover<StreamInferResponse>,
  resolve: (request: InferRequest) => AnsweringModel,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  let inOrder: Promise<void> = Promise.resolve();
  try {
    for await (const request of requests) {
      if (answers.stopped) return;
      if (group.aborted) throw abortError(group.child(), "during the stream");
      const work = answerOne(request, group, answers, resolve, inOrder);
      if (work.ordered) inOrder = work.done;
      const tracked = work.done.finally(() => underWay.delete(tracked));
      tracked.catch((error: unknown) => answers.fail(error));
      underWay.add(tracked);
      while (underWay.size >= mostAtOnce) await Promise.race(underWay);
    }
    await Promise.all(underWay);
    answers.end();
  } catch (error) {
    answers.fail(error);
  }
}

/** Begins with a request at once; its answers come after `before` if the order counts. */
function answerOne(
  request: InferRequest,
  group: AbortGroup,
  answers: Handover<StreamInferResponse>,
  resolve: (request: InferRequest) => AnsweringModel,
  before: Promise<void>,
): { readonly ordered: boolean; readonly done: Promise<void> } {
  let model: AnsweringModel;
  try {
    model = resolve(request);
  } catch (thrown) {
    const answer = failedAnswer(request, thrown);
    return { ordered: true, done: before.then(() => answers.give(answer)) };
  }
  const child = group.child();
  const source = model.stream(request, child);
  if (model.decoupled) return { ordered: false, done: passOn(request, source, answers) };
  const first = source.next();
  // Another request may fail the stream before this one is looked at.
  first.catch(() => {});
  return {
    ordered: true,
    done: before.then(async () => {
      let answer: StreamInferResponse;
      try {
        const { value } = await first;
        answer = { inferResponse: value };
      } catch (thrown) {
        answer = failedAnswer(request, thrown);
      }
      await answers.give(answer);
    }),
  };
}

async function passOn(
  request: InferRequest,
  source: AsyncGenerator<NonNullable<StreamInferResponse["inferResponse"]>>,
  answers: Handover<StreamInferResponse>,
): Promise<void> {
  try {
    for await (const inferResponse of source) {
      await answers.give({ inferResponse });
      // Nobody reads any more: leaving the loop ends the model's work.
      if (answers.stopped) return;
    }
  } catch (thrown) {
    await answers.give(failedAnswer(request, thrown));
  }
}

/** The answer of a request that failed; throws if the stream itself is over. */
function failedAnswer(request: InferRequest, thrown: unknown): StreamInferResponse {
  const error = fromUnknown(thrown);
  if (error.reason === "DEADLINE_EXCEEDED" || error.reason === "CALL_CANCELLED") throw error;
  const { modelName, modelVersion, id } = request;
  return { error, errorMessage: error.message, inferResponse: { modelName, modelVersion, id } };
}
