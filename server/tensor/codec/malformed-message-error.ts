/** Bytes that are no message of their type. */
export class MalformedMessageError extends Error {
  override readonly name = "MalformedMessageError";
  /** Where in the bytes reading failed. */
  readonly offset: number;

  constructor(problem: string, offset: number) {
    super(`${problem} at byte ${offset}`);
    this.offset = offset;
  }
}
