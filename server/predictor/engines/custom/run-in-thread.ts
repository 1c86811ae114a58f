import type { Execution } from "../../executor.ts";
import type { RunUnderWay } from "../../scheduling/scheduler.ts";
import type { EngineResult } from "../engine.ts";
import type { CallInThread, ModelThread, ThreadAnswer, ThreadCall } from "./model-thread.ts";

/** Takes the answers of a decoupled call, one after the other; it resolves when one was taken. */
export type TakeAnswer = (answer: Execution) => Promise<void>;

/**
 * Gives a run to a thread: one answer, or for a decoupled call any number of them, which `take` gets, and then
 * an end without outputs. The thread hears when nobody waits any more.
 */
export function runInThread(
  thread: ModelThread,
  call: ThreadCall,
  take: TakeAnswer | undefined,
  run: Pick<RunUnderWay<unknown>, "onGone">,
): Promise<EngineResult> {
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    let inThread: CallInThread;
    const passOn = async (answer: ThreadAnswer, to: TakeAnswer): Promise<void> => {
      await to({ ...answer, startedMs, runRows: 0 });
      inThread.more();
    };
    // The end must not overtake the answers before it.
    let passed: Promise<void> = Promise.resolve();
    inThread = thread.begin(call, {
      answer: (answer) => {
        if (take) passed = Promise.all([passed, passOn(answer, take)]).then(() => {});
        else resolve(answer);
      },
      ended: (inferNs) => void passed.then(() => resolve({ outputs: [], inferNs })),
      failed: (error) => void passed.then(() => reject(error)),
    });
    run.onGone(() => inThread.cancel());
  });
}
