import { TensorwireError } from "../errors/tensorwire-error.ts";
import { nearestName } from "./nearest-name.ts";
import type { Setting } from "./setting.ts";

/** Gathers all that is wrong with the settings, so that one start tells of all of it. */
export class Problems {
  readonly #lines: string[] = [];

  /** Adds a sentence. */
  push(line: string): void {
    this.#lines.push(line);
  }

  /** Adds a name that is not declared. */
  unknown(what: string, nearest: string | undefined, prefix: string): void {
    this.push(
      nearest === undefined
        ? `unknown ${what}`
        : `unknown ${what}; did you mean ${prefix}${nearest}?`,
    );
  }

  /** Adds a value that its setting cannot have. A secret's value is not repeated. */
  impossible(where: string, setting: Setting, given: string, expected: string): void {
    const shown = setting.secret ? "a value" : JSON.stringify(given);
    const near = setting.kind === "choice" ? nearestName(given, setting.choices) : undefined;
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    this.push(`${where}: got ${shown}, expected ${expected}${hint}`);
  }

  /** @throws TensorwireError `SETTING_INVALID` with all that was gathered, a line each */
  throwIfAny(): void {
    if (this.#lines.length === 0) return;
    throw new TensorwireError("SETTING_INVALID", this.#lines.join("\n"), {
      problems: `${this.#lines.length}`,
    });
  }
}
