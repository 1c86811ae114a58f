/** The least times measured with one input in a worker thread. */
export interface WarmUpSample {
  /** Size of the input contents. */
  readonly bytes: number;
  /** Time in the model, in ns. */
  readonly inferNs: number;
  /** Time from the call in the main thread to its answer there, in ns. */
  readonly totalNs: number;
}

/** Time for which a call may be foretold to hold up the thread of the sockets, in ns. */
const longestInlineNs = 1_000_000;

/** A model cannot read its input faster than memory gives it, about 10 GB/s; less is noise. */
const leastNsPerByte = 0.1;

/**
 * What the hop to a worker and back takes where none was measured, in ns: 22 us, and 0.15 ns for each byte
 * of the input (the least of fifty, models of examples/ on a processor of 2024).
 */
export function usualHopNs(bytes: number): number {
  return 22_000 + 0.15 * bytes;
}

/**
 * Input size up to which a call holds up the thread of the sockets for no longer than the hop to a
 * worker and back would take, nor for more than 1 ms; 0 if even the smallest measured input takes
 * longer.
 *
 * Both the time in the model and the hop, which copies the input, are taken to grow linearly between
 * and beyond the first and the last sample. With one sample the limit is that sample's own size.
 *
 * @param samples - in rising size, at least one
 */
export function inlineByteLimit(samples: readonly WarmUpSample[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last) return 0;
  const slack = hopNs(first) - first.inferNs;
  if (slack < 0) return 0;
  const further = last.bytes - first.bytes;
  if (further <= 0) return first.bytes;
  const inferPerByte = nsPerByte(first, last);
  const hopPerByte = Math.max((hopNs(last) - hopNs(first)) / further, 0);
  const untilHop =
    inferPerByte > hopPerByte ? slack / (inferPerByte - hopPerByte) : Number.POSITIVE_INFINITY;
  const untilLongest = (longestInlineNs - first.inferNs) / inferPerByte;
  return Math.floor(first.bytes + Math.max(Math.min(untilHop, untilLongest), 0));
}

/**
 * Input size up to which a call takes no longer than 1 ms, by the time that the first and the last sample
 * took; 0 if even the smallest takes longer.
 *
 * @param samples - in rising size, at least one
 */
export function briefByteLimit(samples: readonly WarmUpSample[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last || first.inferNs > longestInlineNs) return 0;
  const further = last.bytes - first.bytes;
  if (further <= 0) return first.bytes;
  return Math.floor(first.bytes + (longestInlineNs - first.inferNs) / nsPerByte(first, last));
}

/**
 * Input size up to which calls run in the thread of the sockets. With one core a worker has no other to run
 * on: it saves nothing but holding up calls for more than 1 ms, and costs the hop.
 *
 * @param cores - that the process may use
 * @param samples - in rising size, at least one
 */
export function placedByteLimit(cores: number, samples: readonly WarmUpSample[]): number {
  return cores === 1 ? briefByteLimit(samples) : inlineByteLimit(samples);
}

/** Whether larger samples would change nothing any more. */
export function isPlaced(cores: number, samples: readonly WarmUpSample[]): boolean {
  const tooLong = (samples.at(-1)?.inferNs ?? 0) > longestInlineNs;
  return placedByteLimit(cores, samples) === 0 || (cores === 1 && tooLong);
}

/** How the time in the model grows from the first to the last sample. */
function nsPerByte(first: WarmUpSample, last: WarmUpSample): number {
  return Math.max((last.inferNs - first.inferNs) / (last.bytes - first.bytes), leastNsPerByte);
}

function hopNs({ totalNs, inferNs }: WarmUpSample): number {
  return Math.max(totalNs - inferNs, 0);
}
