import type { ProcessEvents } from "../lifecycle/process-events.ts";

/** Where text for people and programs goes. */
export interface TextSink {
  write(text: string): void;
  /** Width of the terminal, or 80. */
  readonly columns: number;
  /** Whether colours are shown. */
  readonly color: boolean;
}

/** What a command sees of the world; the program gives the real one, tests give their own. */
export interface Program {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a settings file. */
  readonly readFile: (path: string) => string;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly events: ProcessEvents;
  /** Runs the program from its start again, in the same process; not there where that cannot be done. */
  readonly restart?: ((env: Program["env"]) => void) | undefined;
}
