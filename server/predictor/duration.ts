/** A count and the time in ns that went with it. */
export class Duration {
  count = 0;
  ns = 0;

  add(ns: number): void {
    this.count++;
    this.ns += ns;
  }

  toMessage(): { count: bigint; ns: bigint } {
    return { count: BigInt(this.count), ns: BigInt(Math.round(this.ns)) };
  }
}

/** Time of the monotonic clock, in ms, as the whole ns that are counted. */
export function toNs(ms: number): number {
  return Math.round(ms * 1e6);
}
