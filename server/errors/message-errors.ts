import { TensorwireError } from "./tensorwire-error.ts";

/**
 * A request message over the limit.
 *
 * @param bytes - its length if it is known
 */
export function messageTooLarge(bytes: number | undefined, limit: number): TensorwireError {
  const given = bytes === undefined ? `a message of more than ${limit}` : `a message of ${bytes}`;
  return new TensorwireError(
    "REQUEST_TOO_LARGE",
    `got ${given} bytes, the limit is ${limit} bytes; send less, or raise --max-message-size`,
    { limitBytes: `${limit}`, ...(bytes === undefined ? {} : { givenBytes: `${bytes}` }) },
  );
}

/** A request message that cannot be read. */
export function messageMalformed(why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "REQUEST_MALFORMED",
    `the request message is malformed: ${why}`,
    {},
    { cause },
  );
}
