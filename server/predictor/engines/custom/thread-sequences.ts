import { sumSnapshots } from "../../../generation/generation-statistics.ts";
import type { SequenceEngine } from "../../sequences/sequence-engine.ts";
import type { ModelThread } from "./model-thread.ts";
import { ownParameters } from "./own-parameters.ts";
import { runInThread } from "./run-in-thread.ts";

/**
 * The threads of a model in TypeScript as instances that may remember their sequences: the calls of one go to
 * the same thread, no run is repeated, and the end of a thread is that of its sequences.
 */
export function threadSequences(threads: readonly ModelThread[]): SequenceEngine {
  return {
    instances: threads.length,
    runsPerInstance: threads[0]!.model.concurrency,
    placement: threads.length === 1 ? "thread" : `${threads.length} threads`,
    memoryBytes: 0,
    afterFailure: "fail",
    decoupled: threads[0]!.model.decoupled,
    generations: () => sumSnapshots(threads.flatMap(({ generations }) => generations ?? [])),
    isSolo: (parameters) => Object.keys(ownParameters(parameters)).length > 0,
    run(instance, inputs, outputNames, run) {
      const thread = threads[instance]!;
      // Those that share a run have no parameters.
      const { parameters: given, take } = run.details[0]!;
      const parameters = ownParameters(given);
      return runInThread(thread, { inputs, outputNames, parameters }, take, run);
    },
    onChange(listener) {
      for (const [instance, thread] of threads.entries()) {
        thread.onChange((state) => listener(instance, state));
      }
    },
    async release() {
      await Promise.all(threads.map((thread) => thread.close()));
    },
  };
}
