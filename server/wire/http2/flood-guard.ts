import type { WireRefusal } from "../wire-refusals.ts";
import { errorCode } from "./frame.ts";
import { ConnectionError } from "./http2-error.ts";

/**
 * Allowance for frames that cost work and carry none (a token bucket). The clock is read only when
 * the allowance is used up.
 */
class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #since: number;

  constructor(burst: number, perSecond: number, now: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
    this.#since = now;
  }

  credit(frames: number): void {
    this.#left = Math.min(this.#burst, this.#left + frames);
  }

  /** @returns false if there is nothing left */
  take(): boolean {
    if (this.#left >= 1) {
      this.#left--;
      return true;
    }
    const now = performance.now();
    this.credit(((now - this.#since) / 1000) * this.#perSecond);
    this.#since = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/**
 * Tells floods from traffic on one connection: PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown
 * frames are paid for by requests and DATA, beyond that 200 a second are free; so are 200 resets and
 * 10 empty frames a second.
 */
export class FloodGuard {
  readonly #control: Allowance;
  readonly #resets: Allowance;
  readonly #empty: Allowance;

  /** @param maxConcurrentStreams - all of them may be reset at once, twice */
  constructor(maxConcurrentStreams: number) {
    const now = performance.now();
    this.#control = new Allowance(2_000, 200, now);
    this.#resets = new Allowance(Math.max(500, 2 * Math.min(maxConcurrentStreams, 4096)), 200, now);
    this.#empty = new Allowance(100, 10, now);
  }

  /** A request or DATA came, which frames may go with. */
  worked(): void {
    this.#control.credit(4);
  }

  /** DATA went out: its WINDOW_UPDATEs will come, less of them for less of it. */
  sent(bytes: number): void {
    this.#control.credit(Math.min(4, bytes / 1024));
  }

  /** @throws ConnectionError ENHANCE_YOUR_CALM */
  onControlFrame(): void {
    if (!this.#control.take()) throw flood("control-frames", "PING, SETTINGS and their like");
  }

  /** A stream was reset by the peer, or because of what the peer sent. */
  onReset(): void {
    if (!this.#resets.take()) throw flood("stream-resets", "streams that were reset");
  }

  onEmptyFrame(): void {
    if (!this.#empty.take()) throw flood("empty-frames", "frames that carry nothing");
  }
}

function flood(refusal: WireRefusal, what: string): ConnectionError {
  return new ConnectionError(errorCode.enhanceYourCalm, `too many ${what}`, refusal);
}
