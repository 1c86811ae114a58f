const msByUnit: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * Reads a `grpc-timeout` header
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests).
 *
 * @returns time in ms; `undefined` if it is malformed
 */
export function parseGrpcTimeout(text: string): number | undefined {
  const { length } = text;
  const unit = msByUnit[text[length - 1] ?? ""];
  if (length < 2 || length > 9 || unit === undefined) return undefined;
  let value = 0;
  for (let index = 0; index < length - 1; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value * unit;
}

/** Writes a `grpc-timeout` header; a time that has passed is the shortest there is. */
export function formatGrpcTimeout(ms: number): string {
  if (ms <= 0) return "1n";
  const us = Math.ceil(ms * 1000);
  if (us < 1e8) return `${us}u`;
  const whole = Math.ceil(ms);
  return whole < 1e8 ? `${whole}m` : `${Math.min(Math.ceil(ms / 1000), 99_999_999)}S`;
}
