/** What a peer sent is not HTTP/1.1 as RFC 9112 has it. */
export class Http1Error extends Error {
  override readonly name = "Http1Error";
  /** Status that a caller is answered. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
