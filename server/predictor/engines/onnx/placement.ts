/** The least times measured with one input in a worker thread. */
export interface WarmUpSample {
  /** Size of the input contents. */
  readonly bytes: number;
  /** Time in the model, in ns. */
  readonly inferNs: number;
  /** Time from the call in the main thread to its answer there, in ns. */
  readonly totalNs: number;
}

/**
 * Input size up to which a call holds up the thread of the sockets for no longer than the hop to a
 * worker and back would take; 0 if even the smallest measured input takes longer.
 *
 * The time of a call is taken to grow linearly between and beyond the first and the last sample. With
 * one sample the limit is that sample's own size.
 *
 * @param samples - in rising size, at least one
 */
export function inlineByteLimit(samples: readonly WarmUpSample[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last) return 0;
  const hopNs = Math.max(first.totalNs - first.inferNs, 0);
  if (first.inferNs > hopNs) return 0;
  if (last.bytes <= first.bytes) return first.bytes;
  const nsPerByte = (last.inferNs - first.inferNs) / (last.bytes - first.bytes);
  // A slope of nothing, or noise below it: what was measured is all that is known.
  if (nsPerByte <= 0) return last.bytes;
  return Math.floor(first.bytes + (hopNs - first.inferNs) / nsPerByte);
}
