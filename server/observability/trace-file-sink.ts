import type { CallTrace } from "./call-trace.ts";
import type { TraceFolder } from "./trace-folder.ts";
import { traceJson } from "./trace-json.ts";
import type { TraceSink } from "./trace-sampler.ts";

/** Characters of traces that are held back at most. */
const maxHeld = 1024 * 1024;
/** Time after which traces are written that go to one file, in ms. */
const holdMs = 1000;

/** Writes traces in Triton's JSON, some at a time. */
export class TraceFileSink implements TraceSink {
  readonly #folder: TraceFolder;
  readonly #name: string;
  readonly #logFrequency: number;
  #held: string[] = [];
  #heldLength = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param logFrequency - traces in one file, which is numbered; 0 for one file for all */
  constructor(folder: TraceFolder, name: string, logFrequency: number) {
    this.#folder = folder;
    this.#name = name;
    this.#logFrequency = logFrequency;
  }

  write(calls: readonly CallTrace[]): void {
    const text = traceJson(calls);
    this.#held.push(text);
    this.#heldLength += text.length;
    if (this.#held.length === this.#logFrequency || this.#heldLength >= maxHeld) {
      this.flush();
    } else if (this.#logFrequency === 0) {
      this.#timer ??= setTimeout(() => this.flush(), holdMs).unref();
    }
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const held = this.#held;
    if (held.length === 0) return;
    this.#held = [];
    this.#heldLength = 0;
    const form = this.#logFrequency === 0 ? "whole" : "numbered";
    this.#folder.write(this.#name, form, held.join(","), held.length);
  }
}
