/** A call of a model without a protocol: what is computed, and nothing around it. */
export interface BareCall {
  readonly model: string;
  readonly inputs: readonly BareInput[];
  /** Contents of all inputs, one behind the other. */
  readonly contents: Uint8Array;
  /** Names of the outputs, in the order in which their contents are answered. */
  readonly outputs: readonly string[];
  /** Bytes of all outputs. */
  readonly answerBytes: number;
  /**
   * Compares the contents of all outputs with what is expected.
   * @throws Error that says what differs
   */
  check(contents: Uint8Array): void;
}

/** An input of a {@link BareCall}. */
export interface BareInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** One call that a benchmark sends again and again. */
export interface BenchCall {
  /** `/package.Service/Method` */
  readonly path: string;
  /** Request message without the gRPC prefix. */
  readonly request: Uint8Array;
  /** Model that must be ready first; none for calls to the server itself. */
  readonly model?: string;
  /** Rows of the first dimension; 0 for calls to the server itself. */
  readonly rows: number;
  /** The same call without a protocol, for the peer that has none. */
  readonly bare?: BareCall;
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
