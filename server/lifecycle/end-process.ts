import { exitCodes } from "./exit-codes.ts";

/**
 * Ends the process with an exit code, whatever its threads do. process.exit() takes the threads down in
 * order, and a native call that is under way in one of them then aborts the process with a code of its
 * own; so when calls were cut off, the process image is replaced by one that only exits.
 */
export function endProcess(exitCode: number): never {
  const cutOff = exitCode === exitCodes.drainTimeout || exitCode > 128;
  if (cutOff && typeof process.execve === "function") {
    process.removeAllListeners("warning");
    process.execve(process.execPath, [process.execPath, "-e", `process.exit(${exitCode})`], {});
  }
  process.exit(exitCode);
}
