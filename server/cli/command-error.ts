import { InferenceError } from "../../clients/typescript/src/inference-error.ts";
import { fromUnknown, messageOf } from "../errors/from-unknown.ts";
import type { Reason } from "../errors/registry.ts";
import { type ExitCode, exitCodes } from "../lifecycle/exit-codes.ts";

/** Exit codes of failures that are not "the work failed". */
const exitCodeOf: Partial<Record<Reason, ExitCode>> = {
  SETTING_INVALID: exitCodes.usage,
  LISTEN_FAILED: exitCodes.listen,
  REPOSITORY_UNREADABLE: exitCodes.models,
};

/** What a command's failure prints on stderr, and the exit code. */
export function commandError(
  thrown: unknown,
  command: string,
): { readonly text: string; readonly exitCode: ExitCode } {
  if (thrown instanceof InferenceError) {
    const { message, code, reason } = thrown;
    const status = reason === undefined ? code : `${code}, ${reason}`;
    return { text: `tensorwire: ${message} (${status})\n`, exitCode: exitCodes.failed };
  }
  const error = fromUnknown(thrown);
  // An error of our own is a sentence for people; any other is a defect, whose trace helps.
  const text =
    error.reason === "INTERNAL"
      ? ((thrown as { stack?: string } | undefined)?.stack ?? messageOf(thrown))
      : error.message;
  const exitCode = exitCodeOf[error.reason] ?? exitCodes.failed;
  const hint = exitCode === exitCodes.usage ? `See tensorwire help ${command}.\n` : "";
  const lines = text.split("\n").map((line) => `tensorwire: ${line}\n`);
  return { text: lines.join("") + hint, exitCode };
}
