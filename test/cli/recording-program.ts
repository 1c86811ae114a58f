import { EventEmitter } from "node:events";
import type { Program, TextSink } from "../../server/cli/program.ts";

/** A program whose output is kept, and whose signals a test sends. */
export interface RecordingProgram extends Program {
  readonly events: EventEmitter;
  readonly written: () => string;
  readonly complained: () => string;
  /** Resolves with all of stdout as soon as it matches. */
  readonly writes: (pattern: RegExp) => Promise<string>;
}

/** Makes one without environment and files. */
export function recordingProgram(env: Readonly<Record<string, string>> = {}): RecordingProgram {
  const events = new EventEmitter();
  const changed = new EventEmitter();
  let out = "";
  let err = "";
  const sink = (add: (text: string) => void): TextSink => ({
    write(text) {
      add(text);
      changed.emit("write");
    },
    columns: 80,
    color: false,
  });
  return {
    env,
    readFile(path) {
      throw new Error(`no file ${path}`);
    },
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
    events,
    written: () => out,
    complained: () => err,
    writes: (pattern) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (pattern.test(out)) resolve(out);
        };
        changed.on("write", look);
        look();
      }),
  };
}
