/** What a name consists of (RFC 9110, 5.6.2). */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Blanks around a value, which do not belong to it. */
const blanksAround = /^[\t\n\r ]+|[\t\n\r ]+$/g;
/** What no value may hold: ends of lines, which would begin another field, and what is no byte. */
const forbidden = /[\0\n\r\u0100-\uffff]/;

const cookieName = "set-cookie";

/**
 * Headers of the Fetch standard, for a program that makes no use of the rest of Node's fetch: the first
 * use of Node's own class loads all of it, 5 MB and 20 ms. In iteration, as in the standard, names come
 * sorted and in lower case, and each set-cookie on its own.
 *
 * @see https://fetch.spec.whatwg.org/#headers-class
 */
export class LightHeaders implements Headers {
  readonly #values = new Map<string, string>();
  #cookies: string[] = [];

  /** @throws TypeError for a name or value that no field may have */
  constructor(init?: HeadersInit) {
    if (init === undefined) return;
    if (typeof init !== "object" || init === null) {
      throw new TypeError(`headers cannot be made from ${init === null ? "null" : typeof init}`);
    }
    if (!(Symbol.iterator in init)) {
      for (const [name, value] of Object.entries(init)) this.append(name, value);
      return;
    }
    for (const pair of init) {
      const [name, value, ...more] = pair;
      if (name === undefined || value === undefined || more.length > 0)
        throw new TypeError("headers are made from pairs of a name and a value");
      this.append(name, value);
    }
  }

  get [Symbol.toStringTag](): string {
    return "Headers";
  }

  append(name: string, value: string): void {
    const key = fieldName(name);
    const text = fieldValue(key, value);
    if (key === cookieName) {
      this.#cookies.push(text);
      return;
    }
    const before = this.#values.get(key);
    const joint = key === "cookie" ? "; " : ", ";
    this.#values.set(key, before === undefined ? text : `${before}${joint}${text}`);
  }

  delete(name: string): void {
    const key = fieldName(name);
    if (key === cookieName) this.#cookies = [];
    else this.#values.delete(key);
  }

  get(name: string): string | null {
    const key = fieldName(name);
    if (key !== cookieName) return this.#values.get(key) ?? null;
    return this.#cookies.length > 0 ? this.#cookies.join(", ") : null;
  }

  getSetCookie(): string[] {
    return [...this.#cookies];
  }

  has(name: string): boolean {
    const key = fieldName(name);
    return key === cookieName ? this.#cookies.length > 0 : this.#values.has(key);
  }

  set(name: string, value: string): void {
    const key = fieldName(name);
    const text = fieldValue(key, value);
    if (key === cookieName) this.#cookies = [text];
    else this.#values.set(key, text);
  }

  forEach(
    callback: (value: string, key: string, parent: Headers) => void,
    thisArgument?: unknown,
  ): void {
    for (const [name, value] of this) callback.call(thisArgument, value, name, this);
  }

  *entries(): HeadersIterator<[string, string]> {
    const names = [...this.#values.keys()];
    if (this.#cookies.length > 0) names.push(cookieName);
    for (const name of names.sort()) {
      if (name === cookieName) for (const value of [...this.#cookies]) yield [name, value];
      else yield [name, this.#values.get(name) ?? ""];
    }
  }

  *keys(): HeadersIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): HeadersIterator<string> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): HeadersIterator<[string, string]> {
    return this.entries();
  }
}

function fieldName(name: string): string {
  const text = `${name}`;
  if (!token.test(text)) throw new TypeError(`${JSON.stringify(text)} is no name of a header`);
  return text.toLowerCase();
}

function fieldValue(name: string, value: string): string {
  const text = `${value}`;
  const trimmed = text.replace(blanksAround, "");
  // A value may be a secret, so it is not told.
  if (forbidden.test(trimmed)) throw new TypeError(`the value of header ${name} cannot be sent`);
  return trimmed;
}
