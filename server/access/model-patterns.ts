/** Names of models that a caller may use: globs in which `*` stands for any text and `?` for one character. */
export class ModelPatterns {
  /** True if every model is allowed, whatever its name. */
  readonly all: boolean;
  readonly #names: ReadonlySet<string>;
  readonly #globs: readonly (readonly string[])[];

  /** @param patterns - those of which one must match */
  constructor(patterns: readonly string[]) {
    this.all = patterns.includes("*");
    this.#names = new Set(patterns.filter((pattern) => !isGlob(pattern)));
    // By code points, so that `?` is a character that people see as one.
    this.#globs = patterns.filter(isGlob).map((pattern) => [...pattern]);
  }

  /** Whether a model of this name is allowed. */
  allows(model: string): boolean {
    if (this.all || this.#names.has(model)) return true;
    if (this.#globs.length === 0) return false;
    const name = [...model];
    return this.#globs.some((glob) => matches(glob, name));
  }
}

/** The patterns that allow every model. */
export const allModels = new ModelPatterns(["*"]);

function isGlob(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes("?");
}

/**
 * Whether a glob matches a whole name. After a star it takes back one star only, the last: so the time
 * is at most the product of both lengths, which a regular expression of several stars would not keep.
 */
function matches(glob: readonly string[], name: readonly string[]): boolean {
  let at = 0;
  let from = 0;
  let star = -1;
  let starFrom = 0;
  while (from < name.length) {
    if (glob[at] === "*") {
      star = at++;
      starFrom = from;
    } else if (at < glob.length && (glob[at] === "?" || glob[at] === name[from])) {
      at++;
      from++;
    } else if (star !== -1) {
      at = star + 1;
      from = ++starFrom;
    } else return false;
  }
  while (glob[at] === "*") at++;
  return at === glob.length;
}
