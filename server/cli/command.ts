import type { Settings } from "../config/setting.ts";

/** A command of the program. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Arguments as usage shows them: `<model-repository>...`. */
  readonly usage: string;
  /** Some sentences on what it does. */
  readonly description: string;
  readonly examples: readonly (readonly [command: string, meaning: string])[];
  readonly settings: Settings;
  /**
   * Does the work.
   *
   * @returns the exit code
   * @throws TensorwireError printed as one sentence; `SETTING_INVALID` exits with 2
   */
  readonly run: (argv: readonly string[]) => Promise<number>;
}
