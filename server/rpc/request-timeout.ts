/** Longest time that a timer of Node takes, in ms; a longer one would fire at once. */
const maxTimerMs = 2 ** 31 - 1;

const msByUnit: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Reads the time to the deadline of an RPC, and cuts one above the limit to it, in the header too.
 *
 * @returns time in ms; `undefined` without a deadline, or if its header is malformed, which Connect
 *   answers
 */
export function boundTimeout(header: Headers, maxTimeoutMs: number): number | undefined {
  const limit = Math.floor(Math.min(maxTimeoutMs, maxTimerMs));
  const grpc = header.get("grpc-timeout");
  if (grpc !== null) {
    const given = /^(\d{1,8})([HMSmun])$/.exec(grpc);
    if (!given) return undefined;
    const timeoutMs = Number(given[1]) * msByUnit[given[2]!]!;
    if (timeoutMs <= limit) return timeoutMs;
    // The header has 8 digits at most.
    const cut = limit < 1e8 ? `${limit}m` : `${Math.floor(limit / 1000)}S`;
    header.set("grpc-timeout", cut);
    return limit;
  }
  const connect = header.get("connect-timeout-ms");
  if (connect === null || !/^\d{1,10}$/.test(connect)) return undefined;
  const timeoutMs = Number(connect);
  if (timeoutMs <= limit) return timeoutMs;
  header.set("connect-timeout-ms", `${limit}`);
  return limit;
}
