/**
 * Longest time for which one call may hold up the thread of the sockets, in ns. One that takes longer
 * shows that the time does not grow with the size as warm-up foretold.
 */
export const slowestInlineNs = 2_000_000;

/**
 * What the moving mean of the times of calls takes of each, and the most that one call counts, in times of
 * what is too slow: a collection of garbage can hold up any call.
 */
const meanShare = 1 / 16;
const mostOfOneCall = 8;

/** Calls whose processor time is taken when the mean is too long. */
const suspectCalls = 16;

/**
 * Judges whether the calls of a model hold up the thread of the sockets for too long. The clock alone does
 * not tell: it goes on while another process has the core, or the container has used up its quota. So when
 * calls are slow by the clock, the processor time of the next ones decides.
 */
export class InlineJudge {
  readonly #slowestNs: number;
  readonly #cpuMicros: () => number;
  #meanNs = 0;
  /** Calls of which the processor time is still to be taken; 0 while none is suspected. */
  #suspects = 0;
  #suspectNs = 0;

  /**
   * @param slowestNs - time above which a call is too slow, if it is not the only one
   * @param cpuMicros - processor time of the thread so far, in us
   */
  constructor(slowestNs: number, cpuMicros: () => number = threadCpuMicros) {
    this.#slowestNs = slowestNs;
    this.#cpuMicros = cpuMicros;
  }

  /** Before a call; the result is for {@link tooSlow}. */
  begin(): number {
    return this.#suspects > 0 ? this.#cpuMicros() : 0;
  }

  /**
   * After a call: true if calls are too slow, again and again.
   *
   * @param tookNs - by the clock
   */
  tooSlow(tookNs: number, begun: number): boolean {
    const slowest = this.#slowestNs;
    if (this.#suspects > 0) {
      const cpuNs = (this.#cpuMicros() - begun) * 1000;
      this.#suspectNs += Math.min(cpuNs, mostOfOneCall * slowest);
      if (this.#suspectNs > slowest * suspectCalls) return true;
      this.#suspects--;
      return false;
    }
    this.#meanNs += (Math.min(tookNs, mostOfOneCall * slowest) - this.#meanNs) * meanShare;
    if (this.#meanNs > slowest) {
      this.#meanNs = 0;
      this.#suspects = suspectCalls;
      this.#suspectNs = 0;
    }
    return false;
  }
}

/** Processor time of this thread, by the ticks of the kernel; of the whole process before Node 23.9. */
function threadCpuMicros(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage).call(process);
  return user + system;
}
