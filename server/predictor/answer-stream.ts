import { AbortGroup } from "../rpc/abort-group.ts";
import type { CallAbort } from "../rpc/call-context.ts";
import type { Execution } from "./executor.ts";
import { Handover } from "./handover.ts";

/**
 * The answers of a decoupled call as they are made. Ending the iteration ends the call.
 *
 * @param begin - begins the call, which gives each answer to `take`, and resolves at its end
 */
export async function* answerStream(
  call: CallAbort,
  begin: (call: CallAbort, take: (answer: Execution) => Promise<void>) => Promise<unknown>,
): AsyncGenerator<Execution> {
  const group = new AbortGroup(call);
  const child = group.child();
  const answers = new Handover<Execution>();
  begin(child, (answer) => answers.give(answer)).then(
    () => answers.end(),
    (error: unknown) => answers.fail(error),
  );
  try {
    yield* answers.taken();
  } finally {
    answers.stop();
    child.abort("cancelled");
    group.close();
  }
}
