import type { Settings } from "../config/setting.ts";
import type { Program } from "./program.ts";

/** A command line and what it does. */
export type Example = readonly [command: string, meaning: string];

/** A command of the program. */
export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Arguments as usage shows them: `<model-repository>...`. */
  readonly usage: string;
  /** What it does, a paragraph each. */
  readonly description: readonly string[];
  readonly examples: readonly Example[];
  readonly settings: Settings;
  /**
   * Does the work.
   *
   * @param argv - arguments behind the command's name
   * @returns the exit code
   * @throws TensorwireError printed as it is; its reason decides the exit code
   */
  run(argv: readonly string[], program: Program): Promise<number>;
}
