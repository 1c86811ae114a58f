import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  LogSettingsRequest,
  LogSettingsResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { parameterInvalid } from "../errors/request-errors.ts";
import { type LogSettings, type LogStyle, logStyles } from "../observability/log-settings.ts";

type Choice = LogSettingsRequest["settings"][string]["parameterChoice"];

/**
 * Reads the settings of a LogSettings request; those without a value stay as they are.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function readLogChanges({
  settings,
}: Pick<LogSettingsRequest, "settings">): Partial<LogSettings> {
  const changes: { -readonly [K in keyof LogSettings]?: LogSettings[K] } = {};
  for (const [name, { parameterChoice }] of Object.entries(settings)) {
    if (parameterChoice.case === undefined) continue;
    switch (name) {
      case "log_verbose_level":
        changes.verboseLevel = readLevel(name, parameterChoice);
        break;
      case "log_info":
        changes.info = readSwitch(name, parameterChoice);
        break;
      case "log_warning":
        changes.warning = readSwitch(name, parameterChoice);
        break;
      case "log_error":
        changes.error = readSwitch(name, parameterChoice);
        break;
      case "log_format":
        changes.style = readStyle(name, parameterChoice);
        break;
      case "log_file":
        // Clients that send back what they were told send the empty name.
        if (parameterChoice.value === "") break;
        throw parameterInvalid(
          name,
          `"${parameterChoice.value}"`,
          "none: the log goes to stderr, where whoever started the server collects it",
        );
      default:
        throw parameterInvalid(
          name,
          "a log setting that is not known",
          "log_verbose_level, log_info, log_warning, log_error or log_format",
        );
    }
  }
  return changes;
}

/** All log settings as a LogSettings response has them. */
export function logSettingsMessage(
  settings: LogSettings,
): MessageInitShape<typeof LogSettingsResponseSchema> {
  const bool = (value: boolean) => ({ parameterChoice: { case: "boolParam", value } }) as const;
  const text = (value: string) => ({ parameterChoice: { case: "stringParam", value } }) as const;
  return {
    settings: {
      log_file: text(""),
      log_info: bool(settings.info),
      log_warning: bool(settings.warning),
      log_error: bool(settings.error),
      log_verbose_level: {
        parameterChoice: { case: "uint32Param", value: settings.verboseLevel },
      },
      log_format: text(settings.style),
    },
  };
}

function readLevel(name: string, choice: Choice): number {
  if (choice.case === "uint32Param") return choice.value;
  throw parameterInvalid(name, shown(choice), "a level from 0 on, as uint32_param");
}

function readSwitch(name: string, choice: Choice): boolean {
  if (choice.case === "boolParam") return choice.value;
  throw parameterInvalid(name, shown(choice), "true or false, as bool_param");
}

function readStyle(name: string, choice: Choice): LogStyle {
  const found = logStyles.find((style) => style === choice.value);
  if (found === undefined)
    throw parameterInvalid(name, shown(choice), `one of ${logStyles.join(", ")}`);
  return found;
}

function shown({ value }: Choice): string {
  return JSON.stringify(value) ?? "nothing";
}
