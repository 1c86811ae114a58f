import { fromUnknown } from "../errors/from-unknown.ts";
import { AbortGroup } from "../rpc/abort-group.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { InferRequest, InferResponse } from "../rpc/infer-messages.ts";
import type { StreamInferResponse } from "../rpc/inference-backend.ts";
import { abortError } from "./abort-error.ts";
import { Handover } from "./handover.ts";
import type { ModelSource } from "./model-source.ts";
import type { AnsweringModel } from "./shared-memory/memory-call.ts";

/**
 * Requests of one stream that are under way at once while their model is not in memory; others say themselves how
 * many. The next is read when one of them has ended.
 */
const mostAtOnce = 64;

/**
 * Answers the requests of ModelStreamInfer, several at once. Answers of models with one answer come in the
 * order of the requests; those of decoupled models come as they are made, in order within their request. A
 * request that fails is answered with its error and does not end the stream.
 *
 * The next answer is made ready while the last one is on its way; a reader that is slow holds up the
 * models, not the memory.
 *
 * @param throws - a request that fails ends the stream with its status instead
 * @throws TensorwireError `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what reading the requests threw
 */
export async function* streamInfer(
  requests: AsyncIterable<InferRequest>,
  call: CallAbort,
  models: ModelSource,
  throws: boolean,
): AsyncGenerator<StreamInferResponse> {
  const group = new AbortGroup(call);
  const answers = new Handover<StreamInferResponse>();
  const reading = readAll(requests, group, answers, models);
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
  models: ModelSource,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  let inOrder: Promise<void> = Promise.resolve();
  try {
    for await (const request of requests) {
      if (answers.stopped) return;
      if (group.aborted) throw abortError(group.child(), "during the stream");
      const work = answerOne(request, group, answers, models, inOrder);
      inOrder = work.inOrder;
      // Its failure is that of the work itself.
      inOrder.catch(() => {});
      const tracked = work.done.finally(() => underWay.delete(tracked));
      tracked.catch((error: unknown) => answers.fail(error));
      underWay.add(tracked);
      while (underWay.size >= work.most) await Promise.race(underWay);
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
  models: ModelSource,
  before: Promise<void>,
): Work {
  let model: AnsweringModel | undefined;
  try {
    model = models.find(request);
  } catch (thrown) {
    const answer = failedAnswer(request, thrown);
    const done = before.then(() => answers.give(answer));
    return { inOrder: done, most: mostAtOnce, done };
  }
  const child = group.child();
  if (model) {
    const begun = begin(model, request, child);
    const most = model.mostOfStream;
    if (model.decoupled) return { inOrder: before, most, done: passOn(request, begun, answers) };
    const done = before.then(() => giveOne(request, begun, answers));
    return { inOrder: done, most, done };
  }
  const recalled = models.recall(request, child, (loaded) => ({
    decoupled: loaded.decoupled,
    begun: begin(loaded, request, child),
  }));
  const done = recalled.then(
    async ({ decoupled, begun }) => {
      if (decoupled) return passOn(request, begun, answers);
      await before;
      await giveOne(request, begun, answers);
    },
    async (thrown: unknown) => {
      const answer = failedAnswer(request, thrown);
      await before;
      await answers.give(answer);
    },
  );
  // Whether the order counts is known when the model is in memory.
  const inOrder = recalled.then(
    ({ decoupled }) => (decoupled ? before : done),
    () => done,
  );
  return { inOrder, most: mostAtOnce, done };
}

/** Answers on their way. */
interface Work {
  /** When the answers of later requests whose order counts may come. */
  readonly inOrder: Promise<void>;
  /** Requests that may be under way with this one, before the next is read. */
  readonly most: number;
  readonly done: Promise<void>;
}

/** The answers of a request, the first of which is being made. */
interface Begun {
  readonly source: AsyncGenerator<InferResponse>;
  readonly first: Promise<IteratorResult<InferResponse>>;
}

function begin(model: AnsweringModel, request: InferRequest, call: CallAbort): Begun {
  const source = model.stream(request, call);
  const first = source.next();
  // Another request may fail the stream before this one is looked at.
  first.catch(() => {});
  return { source, first };
}

async function giveOne(
  request: InferRequest,
  { first }: Begun,
  answers: Handover<StreamInferResponse>,
): Promise<void> {
  let answer: StreamInferResponse;
  try {
    const { value } = await first;
    answer = { inferResponse: value };
  } catch (thrown) {
    answer = failedAnswer(request, thrown);
  }
  await answers.give(answer);
}

async function passOn(
  request: InferRequest,
  { source, first }: Begun,
  answers: Handover<StreamInferResponse>,
): Promise<void> {
  try {
    let result = await first;
    while (!result.done) {
      await answers.give({ inferResponse: result.value });
      // Nobody reads any more: this ends the model's work.
      if (answers.stopped) return;
      result = await source.next();
    }
  } catch (thrown) {
    await answers.give(failedAnswer(request, thrown));
  } finally {
    await source.return(undefined);
  }
}

/** The answer of a request that failed; throws if the stream itself is over. */
function failedAnswer(request: InferRequest, thrown: unknown): StreamInferResponse {
  const error = fromUnknown(thrown);
  if (error.reason === "DEADLINE_EXCEEDED" || error.reason === "CALL_CANCELLED") throw error;
  const { modelName, modelVersion, id } = request;
  return { error, errorMessage: error.message, inferResponse: { modelName, modelVersion, id } };
}
