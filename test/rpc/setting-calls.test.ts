import { create, type MessageInitShape } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import { Registry } from "prom-client";
import {
  LogSettingsRequestSchema,
  TraceSettingRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { modelNotFound } from "../../server/errors/model-errors.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { createLogger } from "../../server/observability/logger.ts";
import { TraceControl } from "../../server/observability/trace-control.ts";
import { TraceFolder } from "../../server/observability/trace-folder.ts";
import { createSettingCalls } from "../../server/rpc/setting-calls.ts";
import { localCall } from "../support/call-context.ts";
import { recordingLog } from "../support/silent-log.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const context = localCall();
type LogValues = MessageInitShape<typeof LogSettingsRequestSchema>["settings"];

async function start(t: ExecutionContext) {
  const checked: string[] = [];
  const log = createLogger("info", "json", { write() {} });
  const path = await temporaryFolder(t, {});
  const folder = await TraceFolder.open({
    path,
    limitBytes: 1000,
    suffix: "",
    registry: new Registry(),
    log: recordingLog(),
  });
  const traces = new TraceControl(folder);
  const calls = createSettingCalls({
    log,
    traces,
    checkControl: (_, call) => void checked.push(call),
    checkModel(model) {
      if (model !== "m") throw modelNotFound(model);
    },
  });
  return {
    checked,
    log,
    traces,
    logSettings: (settings: LogValues) =>
      calls.logSettings(create(LogSettingsRequestSchema, { settings }), context),
    traceSetting: (settings: Record<string, string[]>, modelName = "") =>
      calls.traceSetting(
        create(TraceSettingRequestSchema, {
          modelName,
          settings: Object.fromEntries(
            Object.entries(settings).map(([name, value]) => [name, { value }]),
          ),
        }),
        context,
      ),
  };
}

const bool = (value: boolean) => ({ parameterChoice: { case: "boolParam", value } }) as const;
const text = (value: string) => ({ parameterChoice: { case: "stringParam", value } }) as const;
const uint = (value: number) => ({ parameterChoice: { case: "uint32Param", value } }) as const;

test("asking for settings changes none, and is no call of control", async (t) => {
  const { logSettings, traceSetting, checked } = await start(t);
  t.deepEqual((await logSettings({})).settings, {
    log_file: text(""),
    log_info: bool(true),
    log_warning: bool(true),
    log_error: bool(true),
    log_verbose_level: uint(0),
    log_format: text("default"),
  });
  t.deepEqual((await traceSetting({}, "m")).settings, {
    trace_file: { value: [""] },
    trace_level: { value: ["OFF"] },
    trace_rate: { value: ["1000"] },
    trace_count: { value: ["-1"] },
    log_frequency: { value: ["0"] },
    trace_mode: { value: ["triton"] },
  });
  t.deepEqual(checked, []);
});

test("settings that are named change, the others stay, and both calls are of control", async (t) => {
  const { logSettings, traceSetting, checked, log, traces } = await start(t);
  const answered = await logSettings({
    log_info: bool(false),
    log_verbose_level: uint(2),
    log_format: text("ISO8601"),
    log_file: text(""),
    log_error: {},
  });
  t.like(answered.settings, { log_info: bool(false), log_error: bool(true) });
  t.deepEqual(log.settings, {
    info: false,
    warning: true,
    error: true,
    verboseLevel: 2,
    style: "ISO8601",
  });
  await traceSetting({ trace_file: ["t"], trace_level: ["TIMESTAMPS"], trace_rate: ["7"] });
  const { settings } = await traceSetting({ trace_count: ["3"], trace_mode: ["triton"] }, "m");
  t.like(settings, { trace_rate: { value: ["7"] }, trace_count: { value: ["3"] } });
  await traceSetting({ trace_rate: [] });
  t.like(traces.settingsOf("m"), { rate: 1000, count: 3, file: "t", level: "TIMESTAMPS" });
  t.deepEqual(checked, ["LogSettings", "TraceSetting", "TraceSetting", "TraceSetting"]);
});

const badLogs: readonly (readonly [LogValues, RegExp])[] = [
  [{ log_file: text("/tmp/x") }, /stderr/],
  [{ log_verbose: uint(1) }, /not known.*log_verbose_level/],
  [{ log_verbose_level: text("1") }, /uint32_param/],
  [{ log_info: uint(1) }, /true or false/],
  [{ log_format: text("xml") }, /one of default, ISO8601, text, json/],
];
for (const [settings, message] of badLogs) {
  test(`LogSettings refuses ${JSON.stringify(settings)}`, async (t) => {
    const { logSettings, log } = await start(t);
    const before = log.settings;
    const error = await t.throwsAsync(logSettings({ log_warning: bool(false), ...settings }), {
      instanceOf: TensorwireError,
      message,
    });
    t.is(error.reason, "PARAMETER_INVALID");
    t.deepEqual(log.settings, before, "all or nothing");
  });
}

const badTraces: readonly (readonly [Record<string, string[]>, RegExp])[] = [
  [{ trace_level: ["TIMESTAMPS"] }, /no trace_file/],
  [{ trace_file: ["t"], trace_level: ["TENSORS"] }, /written to no file/],
  [{ trace_level: ["MIN"] }, /OFF or TIMESTAMPS/],
  [{ trace_file: ["a", "b"] }, /one value/],
  [{ trace_file: ["../t"] }, /no path/],
  [{ trace_rate: ["0"] }, /from 1 to 4294967295/],
  [{ trace_rate: ["1.5"] }, /whole number/],
  [{ trace_rate: ["4294967296"] }, /whole number/],
  [{ trace_count: ["-2"] }, /from -1/],
  [{ log_frequency: [""] }, /whole number/],
  [{ trace_mode: ["opentelemetry"] }, /triton/],
  [{ trace_depth: ["1"] }, /not known/],
];
for (const [settings, message] of badTraces) {
  test(`TraceSetting refuses ${JSON.stringify(settings)}`, async (t) => {
    const { traceSetting, traces } = await start(t);
    const before = traces.settingsOf("");
    const error = await t.throwsAsync(traceSetting({ trace_rate: ["5"], ...settings }), {
      instanceOf: TensorwireError,
      message,
    });
    t.is(error.reason, "PARAMETER_INVALID");
    t.deepEqual(traces.settingsOf(""), before, "all or nothing");
  });
}

test("settings of a model that is not there are not found", async (t) => {
  const { traceSetting } = await start(t);
  const asked: Record<string, string[]>[] = [{}, { trace_rate: ["5"] }];
  for (const settings of asked) {
    const error = await t.throwsAsync(traceSetting(settings, "other"), {
      instanceOf: TensorwireError,
    });
    t.is(error.reason, "MODEL_NOT_FOUND");
  }
});
