/** The largest of the values of the last time, in steps. Knative Serving, pkg/autoscaler/aggregation/max. */
export class PeakWindow {
  readonly #lengthMs: number;
  readonly #stepMs: number;
  /** By step, falling from the oldest on: a value that a later one reaches can be no maximum any more. */
  readonly #peaks: { readonly step: number; value: number }[] = [];

  constructor(lengthMs: number, stepMs: number) {
    this.#lengthMs = lengthMs;
    this.#stepMs = stepMs;
  }

  /** Takes a value at a time in ms, and gives the largest of the window that ends there. */
  record(nowMs: number, value: number): number {
    const step = Math.floor(nowMs / this.#stepMs);
    const peaks = this.#peaks;
    while (peaks.length > 0 && peaks.at(-1)!.value <= value) peaks.pop();
    if (peaks.at(-1)?.step !== step) peaks.push({ step, value });
    const steps = Math.ceil(this.#lengthMs / this.#stepMs);
    while (peaks[0]!.step <= step - steps && peaks.length > 1) peaks.shift();
    return peaks[0]!.value;
  }
}
