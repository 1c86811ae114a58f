import { parseValue } from "../../config/parse-value.ts";

/** Reads the fields of one object of a rule file, and gathers what is wrong with them. */
export class RuleReader {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #where: string;
  readonly #problems: string[];
  readonly #read = new Set<string>();

  /** @param where - how messages name the object: `classes[0]` */
  constructor(value: unknown, where: string, problems: string[]) {
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (value !== undefined && !isObject) {
      problems.push(`${where}: expected fields with values`);
    }
    this.#fields = isObject ? (value as Record<string, unknown>) : {};
    this.#where = where;
    this.#problems = problems;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  /** Tells of fields that nobody has asked for. */
  end(): void {
    for (const name of Object.keys(this.#fields)) {
      if (!this.#read.has(name)) this.problem(name, "is not known");
    }
  }

  problem(name: string, what: string): void {
    const place = this.#where === "" ? name : `${this.#where}.${name}`;
    this.#problems.push(`${place} ${what}`);
  }

  raw(name: string): unknown {
    this.#read.add(name);
    return this.#fields[name];
  }

  list(name: string): readonly unknown[] {
    const value = this.raw(name);
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    this.problem(name, "is no list");
    return [];
  }

  text(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value === "string" && value !== "") return value;
    this.problem(name, `is ${JSON.stringify(value)}, expected a text`);
    return undefined;
  }

  /** A number of at least `min`, and whole if that is asked for. */
  number(name: string, min: number, kind: "whole" | "any", otherwise: number): number {
    const value = this.raw(name);
    if (value === undefined) return otherwise;
    const good =
      typeof value === "number" && value >= min && (kind === "any" || Number.isInteger(value));
    if (good && Number.isFinite(value)) return value;
    const what = kind === "whole" ? "a whole number" : "a number";
    this.problem(name, `is ${JSON.stringify(value)}, expected ${what} of at least ${min}`);
    return otherwise;
  }

  /** A number above 0. */
  positive(name: string, otherwise: number): number {
    const value = this.number(name, 0, "any", otherwise);
    if (value > 0) return value;
    this.problem(name, "is 0, expected more");
    return otherwise;
  }

  /** A time such as 500ms, in ms. */
  duration(name: string, otherwise: number): number {
    return this.#parsed(name, { kind: "duration", default: "0s", group: "", help: "" }, otherwise);
  }

  /** A size such as 64MiB, in bytes. */
  bytes(name: string, otherwise: number): number {
    return this.#parsed(name, { kind: "bytes", default: "0", group: "", help: "" }, otherwise);
  }

  choice<C extends string>(name: string, choices: readonly C[], otherwise: C): C {
    const value = this.raw(name);
    if (value === undefined) return otherwise;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    this.problem(name, `is ${JSON.stringify(value)}, expected ${choices.join(" or ")}`);
    return otherwise;
  }

  #parsed(name: string, setting: Parameters<typeof parseValue>[0], otherwise: number): number {
    const value = this.raw(name);
    if (value === undefined) return otherwise;
    const parsed = parseValue(setting, String(value));
    if ("value" in parsed) return parsed.value as number;
    this.problem(name, `is ${JSON.stringify(value)}, expected ${parsed.expected}`);
    return otherwise;
  }
}
