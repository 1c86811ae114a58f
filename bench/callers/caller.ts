import type { BenchCall } from "../cases/bench-case.ts";

/** A load: one connection, one thread. */
export interface Load {
  readonly port: number;
  /** Calls open at once. */
  readonly inFlight: number;
  readonly seconds: number;
  /** Calls begun a second; as fast as answers come if it is left out. */
  readonly callsPerSecond?: number;
  readonly core: number;
  readonly signal: AbortSignal;
}

/** What a load saw. */
export interface LoadResult {
  /** Calls that ended within the time, none with an error. */
  readonly calls: number;
  readonly callsPerSecond: number;
  /** Time from request to end of response, in microseconds. */
  readonly meanMicros: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  /** Bytes of all response bodies. */
  readonly bodyBytes: number;
}

/** Makes the calls of one case, in the protocol that a peer speaks. */
export interface Caller {
  /** Whether the server says that it is ready; false if it cannot be reached. */
  isReady(port: number): Promise<boolean>;
  /** Version that the server gives of itself. */
  version(port: number): Promise<string>;
  /**
   * Makes the call once, and gives the bytes of the answer's body.
   * @throws Error if the model is not ready, the call fails or the answer is wrong
   */
  checkedAnswer(port: number): Promise<number>;
  /**
   * Makes the call again and again.
   * @throws Error if a call failed, none ended, or the load does not end
   */
  run(load: Load): Promise<LoadResult>;
}

/**
 * Prepares the calls of a case.
 * @param folder - empty, for files of the caller
 */
export type MakeCaller = (call: BenchCall, folder: string) => Caller;
