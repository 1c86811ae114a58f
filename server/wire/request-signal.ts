/** Reason of a request's abort signal when its peer reset the stream or vanished. */
export class PeerGoneError extends Error {
  override readonly name = "PeerGoneError";

  constructor() {
    super("the caller cancelled the request or went away");
  }
}
