import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  TraceSettingRequest,
  TraceSettingResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { parameterInvalid } from "../errors/request-errors.ts";
import type { TraceChanges, TraceLevel, TraceSettings } from "../observability/trace-settings.ts";

/** Triton's numbers are of 32 bits. */
const mostUint32 = 2 ** 32 - 1;
const mostInt32 = 2 ** 31 - 1;

/**
 * Reads the settings of a TraceSetting request; one without a value is cleared.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function readTraceChanges({
  settings,
}: Pick<TraceSettingRequest, "settings">): TraceChanges {
  const changes: { -readonly [K in keyof TraceChanges]: TraceChanges[K] } = {};
  for (const [name, { value: values }] of Object.entries(settings)) {
    switch (name) {
      case "trace_file":
        changes.file = single(name, values);
        break;
      case "trace_level":
        changes.level = readLevel(name, values);
        break;
      case "trace_rate":
        changes.rate = readCount(name, values, 1, mostUint32);
        break;
      case "trace_count":
        changes.count = readCount(name, values, -1, mostInt32);
        break;
      case "log_frequency":
        changes.logFrequency = readCount(name, values, 0, mostUint32);
        break;
      case "trace_mode":
        if (values.every((value) => value.toLowerCase() === "triton")) break;
        throw parameterInvalid(name, values.join(", "), "triton: traces are written to files");
      default:
        throw parameterInvalid(
          name,
          "a trace setting that is not known",
          "trace_file, trace_level, trace_rate, trace_count, log_frequency or trace_mode",
        );
    }
  }
  return changes;
}

/** All trace settings as a TraceSetting response has them. */
export function traceSettingsMessage(
  settings: TraceSettings,
): MessageInitShape<typeof TraceSettingResponseSchema> {
  const one = (value: string | number) => ({ value: [String(value)] });
  return {
    settings: {
      trace_file: one(settings.file),
      trace_level: one(settings.level),
      trace_rate: one(settings.rate),
      trace_count: one(settings.count),
      log_frequency: one(settings.logFrequency),
      trace_mode: one("triton"),
    },
  };
}

/** The one value of a setting; `null` if it is cleared. */
function single(name: string, values: readonly string[]): string | null {
  if (values.length > 1) throw parameterInvalid(name, `${values.length} values`, "one value");
  return values[0] ?? null;
}

function readLevel(name: string, values: readonly string[]): TraceLevel | null {
  if (values.length === 0) return null;
  if (values.every((value) => value === "OFF")) return "OFF";
  if (values.includes("TENSORS")) {
    throw parameterInvalid(
      name,
      "TENSORS",
      "OFF or TIMESTAMPS: what callers send is written to no file",
    );
  }
  if (values.every((value) => value === "TIMESTAMPS")) return "TIMESTAMPS";
  throw parameterInvalid(name, values.join(", "), "OFF or TIMESTAMPS");
}

function readCount(
  name: string,
  values: readonly string[],
  least: number,
  most: number,
): number | null {
  const text = single(name, values);
  if (text === null) return null;
  const count = Number(text);
  if (!/^-?\d+$/.test(text) || count < least || count > most)
    throw parameterInvalid(name, JSON.stringify(text), `a whole number from ${least} to ${most}`);
  return count;
}
