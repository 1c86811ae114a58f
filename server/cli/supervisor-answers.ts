import type { Registry } from "prom-client";
import type { Gathered, Question } from "../cluster/messages.ts";
import type { MetricsJson, SummedMetrics } from "../cluster/summed-metrics.ts";
import { workerQuestions } from "./worker-questions.ts";

/** Answers what workers ask their supervisor: the metrics of the whole, or the answers of all. */
export function answerWorkers(
  sums: SummedMetrics,
  own: Registry,
): (question: Question, gather: (question: Question) => Promise<Gathered>) => Promise<unknown> {
  return async (question, gather) => {
    const { answers } = await gather(question);
    if (question.name !== workerQuestions.metrics) return answers.map(({ answer }) => answer);
    const given = answers.map(({ worker, answer }) => ({ worker, metrics: answer as MetricsJson }));
    return `${await sums.text(given)}\n${await own.metrics()}`;
  };
}
