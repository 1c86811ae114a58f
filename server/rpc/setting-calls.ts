import type { SettableLog } from "../observability/logger.ts";
import type { TraceControl } from "../observability/trace-control.ts";
import type { CallContext } from "./call-context.ts";
import type { InferenceBackend } from "./inference-backend.ts";
import { logSettingsMessage, readLogChanges } from "./log-setting-messages.ts";
import { readTraceChanges, traceSettingsMessage } from "./trace-setting-messages.ts";

/** What {@link createSettingCalls} answers from. */
export interface SettingCallsOptions {
  readonly log: SettableLog;
  readonly traces: TraceControl;
  /** Throws unless the caller may change settings. */
  readonly checkControl: (context: CallContext, call: string) => void;
  /** Throws unless there is such a model. */
  readonly checkModel: (model: string) => void;
}

/** TraceSetting and LogSettings of a process; a request without settings only asks for them. */
export function createSettingCalls({
  log,
  traces,
  checkControl,
  checkModel,
}: SettingCallsOptions): Pick<InferenceBackend, "traceSetting" | "logSettings"> {
  return {
    async traceSetting(request, context) {
      const { modelName, settings } = request;
      if (Object.keys(settings).length > 0) checkControl(context, "TraceSetting");
      if (modelName !== "") checkModel(modelName);
      const changes = readTraceChanges(request);
      traces.check(modelName, changes);
      traces.change(modelName, changes);
      return traceSettingsMessage(traces.settingsOf(modelName));
    },
    async logSettings(request, context) {
      if (Object.keys(request.settings).length > 0) checkControl(context, "LogSettings");
      log.change(readLogChanges(request));
      return logSettingsMessage(log.settings);
    },
  };
}
