/** One call that a benchmark sends again and again. */
export interface BenchCall {
  /** `/package.Service/Method` */
  readonly path: string;
  /** Request message without the gRPC prefix. */
  readonly request: Uint8Array;
  /** Model that must be ready first; none for calls to the server itself. */
  readonly model?: string;
  /**
   * Compares an answer with what is expected.
   * @throws Error that says what differs
   */
  check(response: Uint8Array): void;
}

/** What is measured. */
export interface BenchCase {
  /** Name on the command line. */
  readonly name: string;
  /** One line for the head of the table. */
  readonly about: string;
  /** Most calls in flight: a peer may hold many copies of each message that it works on. */
  readonly maxInFlight: number;
  /** Makes the request; called once a run, and only for cases that are measured. */
  makeCall(): BenchCall;
}
