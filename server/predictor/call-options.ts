import { parameterInvalid } from "../errors/request-errors.ts";
import type { InferParameterValue } from "../rpc/infer-messages.ts";
import { parameterValue } from "./infer-parameter.ts";

type Parameters = Readonly<Record<string, InferParameterValue>>;

/** What a call asks of the scheduler, by the request parameters that the protocol reserves. */
export interface CallOptions {
  /** Priority level, from 1; 0 for the default. */
  readonly priority: number;
  /** Time that the call is ready to wait for the model, in ms; 0 for what the queue's policy says. */
  readonly timeoutMs: number;
  /** The sequence that the call belongs to. */
  readonly sequence: SequenceStep | undefined;
  /** All parameters of the request, those above included. */
  readonly parameters: Parameters;
}

/** A call's place in a sequence. */
export interface SequenceStep {
  /** Never 0 and never empty. */
  readonly id: bigint | string;
  readonly start: boolean;
  readonly end: boolean;
}

/** A call that asks for nothing. */
export const noOptions: CallOptions = {
  priority: 0,
  timeoutMs: 0,
  sequence: undefined,
  parameters: {},
};

/**
 * Reads `priority`, `timeout` (us), `sequence_id`, `sequence_start` and `sequence_end`.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function readCallOptions(parameters: Parameters): CallOptions {
  const priority = readCount(parameters, "priority", "a priority level, 0 for the default");
  const timeoutUs = readCount(parameters, "timeout", "a time in microseconds, 0 for none");
  return { priority, timeoutMs: timeoutUs / 1000, sequence: readSequence(parameters), parameters };
}

function readCount(parameters: Parameters, name: string, expected: string): number {
  const value = parameterValue(parameters, name);
  if (value === undefined) return 0;
  const count = Number(value);
  if (typeof value === "boolean" || value === "" || !Number.isSafeInteger(count) || count < 0) {
    throw parameterInvalid(name, String(value), expected);
  }
  return count;
}

function readSequence(parameters: Parameters): SequenceStep | undefined {
  const id = parameterValue(parameters, "sequence_id");
  const start = readFlag(parameters, "sequence_start");
  const end = readFlag(parameters, "sequence_end");
  if (id === undefined || id === "") return undefined;
  if (typeof id === "string") return { id: checkLength(id), start, end };
  const expected = "an integer from 1 to 2^64 - 1, or a string";
  if (typeof id === "boolean" || !Number.isInteger(Number(id))) {
    throw parameterInvalid("sequence_id", String(id), expected);
  }
  const number = BigInt(id);
  if (number < 0n || number > mostId) throw parameterInvalid("sequence_id", String(id), expected);
  return number === 0n ? undefined : { id: number, start, end };
}

/** Ids are of the type uint64. */
const mostId = 2n ** 64n - 1n;

/** The bound that Triton's protocol has for a string as a correlation id. */
const mostIdLength = 128;

function checkLength(id: string): string {
  if (id.length <= mostIdLength) return id;
  throw parameterInvalid(
    "sequence_id",
    `${id.length} characters`,
    `at most ${mostIdLength} characters`,
  );
}

function readFlag(parameters: Parameters, name: string): boolean {
  const value = parameterValue(parameters, name);
  if (value === undefined || value === false) return false;
  if (value === true) return true;
  throw parameterInvalid(name, String(value), "true or false");
}
