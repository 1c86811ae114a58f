import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { Registry } from "prom-client";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import type { TraceStamp } from "../../server/observability/call-trace.ts";
import { TraceControl } from "../../server/observability/trace-control.ts";
import { TraceFolder } from "../../server/observability/trace-folder.ts";
import type { TraceChanges } from "../../server/observability/trace-settings.ts";
import { recordingLog } from "../support/silent-log.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

async function openControl(t: ExecutionContext) {
  const path = await temporaryFolder(t, {});
  const folder = await TraceFolder.open({
    path,
    limitBytes: 10_000_000,
    suffix: "",
    registry: new Registry(),
    log: recordingLog(),
  });
  const control = new TraceControl(folder);
  /** Ids of the requests that a file tells of. */
  const requests = async (name: string): Promise<string[]> => {
    const entries = JSON.parse(await readFile(join(path, name), "utf8")) as object[];
    return entries.flatMap((entry) => ("request_id" in entry ? [`${entry.request_id}`] : []));
  };
  return { path, folder, control, requests };
}

const stamps: readonly TraceStamp[] = [
  ["REQUEST_START", 1],
  ["REQUEST_END", 2],
];

/** Makes a call of a model. */
function call(control: TraceControl, model: string, id: string): void {
  control.of(model).sampler?.begin({ name: model, version: "1" }, id)?.end(stamps);
}

function calls(control: TraceControl, model: string, count: number): void {
  for (let n = 1; n <= count; n++) call(control, model, `${model}${n}`);
}

test("nothing is traced at the start", async (t) => {
  const { control } = await openControl(t);
  t.is(control.of("m").sampler, undefined);
  t.deepEqual(control.settingsOf("m"), {
    file: "",
    level: "OFF",
    rate: 1000,
    count: -1,
    logFrequency: 0,
  });
});

test("one of so many calls is traced, whichever models they are of, until the count is reached", async (t) => {
  const { control, requests } = await openControl(t);
  const traces = control.of("a");
  control.change("", { file: "t", level: "TIMESTAMPS", rate: 3, count: 2 });
  calls(control, "a", 2);
  calls(control, "b", 5);
  t.is(traces.sampler, control.of("b").sampler);
  t.is(control.settingsOf("").count, 0);
  calls(control, "a", 9);
  await control.close();
  t.deepEqual(await requests("t"), ["b1", "b4"]);
});

test("a model follows the server in what is not set for it, and again when that is cleared", async (t) => {
  const { control, requests } = await openControl(t);
  control.change("", { file: "t", level: "TIMESTAMPS", rate: 2 });
  control.change("m", { file: "m", count: 1 });
  t.like(control.settingsOf("m"), { file: "m", level: "TIMESTAMPS", rate: 2, count: 1 });
  calls(control, "m", 4);
  calls(control, "n", 2);
  t.is(control.settingsOf("m").count, 0);
  control.change("", { rate: 1 });
  t.like(control.settingsOf("m"), { file: "m", rate: 1, count: 0 }, "the count goes on");
  control.change("m", { file: null, count: null });
  t.is(control.of("m").sampler, control.of("n").sampler);
  call(control, "m", "last");
  control.change("", { level: null });
  t.is(control.of("m").sampler, undefined);
  await control.close();
  t.deepEqual(await requests("m"), ["m2"]);
  t.deepEqual(await requests("t"), ["n2", "last"]);
});

test("so many traces are in each numbered file, the last ones when the setting changes", async (t) => {
  const { control, requests, path, folder } = await openControl(t);
  control.change("", { file: "t", level: "TIMESTAMPS", rate: 1, logFrequency: 2 });
  calls(control, "m", 5);
  control.change("", { level: "OFF" });
  await folder.idle();
  t.deepEqual((await readdir(path)).sort(), ["t.0", "t.1", "t.2"]);
  t.deepEqual(await Promise.all(["t.0", "t.1", "t.2"].map(requests)), [
    ["m1", "m2"],
    ["m3", "m4"],
    ["m5"],
  ]);
});

test("a traced call ends as it began, whatever is set meanwhile", async (t) => {
  const { control, requests, folder } = await openControl(t);
  control.change("", { file: "t", level: "TIMESTAMPS", rate: 1 });
  const trace = control.of("m").sampler?.begin({ name: "m", version: "1" }, "late");
  control.change("", { level: "OFF" });
  trace?.end(stamps);
  await folder.idle();
  t.deepEqual(await requests("t"), ["late"]);
});

test("calls of other models stand behind the call that made them, with its id", async (t) => {
  const { control, path } = await openControl(t);
  control.change("", { file: "t", level: "TIMESTAMPS", rate: 1 });
  const root = control.of("e").sampler!.begin({ name: "e", version: "3" }, "r")!;
  const child = root.child({ name: "m", version: "1" });
  const late = root.child({ name: "n", version: "1" });
  child.end(stamps);
  root.end([
    ["REQUEST_START", 0.5],
    ["REQUEST_END", 2.000001],
  ]);
  late.end(stamps);
  await control.close();
  const entries = JSON.parse(await readFile(join(path, "t"), "utf8")) as Record<string, unknown>[];
  t.deepEqual(
    entries.filter((entry) => "model_name" in entry),
    [
      { id: root.id, model_name: "e", model_version: 3, request_id: "r" },
      { id: child.id, model_name: "m", model_version: 1, request_id: "r", parent_id: root.id },
    ],
  );
  const moments = entries.flatMap(({ id, timestamps }) =>
    timestamps && id === root.id ? (timestamps as { name: string; ns: number }[]) : [],
  );
  t.deepEqual(
    moments.map(({ name }) => name),
    ["REQUEST_START", "REQUEST_END"],
  );
  t.is(moments[1]!.ns - moments[0]!.ns, 1_500_001);
});

test("a file is refused without a folder, with a path, and a level without a file", async (t) => {
  const { control } = await openControl(t);
  const refused = (of: TraceControl, changes: TraceChanges): string =>
    t.throws(() => of.check("", changes), { instanceOf: TensorwireError })!.message;
  t.regex(refused(new TraceControl(undefined), { file: "t" }), /start it with --trace-dir/);
  for (const file of ["/etc/x", "../x", "a/b", "..", ".hidden", "a\0b", "a b", "x".repeat(200)])
    t.regex(refused(control, { file }), /no path/, file);
  t.regex(refused(control, { level: "TIMESTAMPS" }), /no trace_file/);
  t.notThrows(() => control.check("", { level: "TIMESTAMPS", file: "trace-1_a.json" }));
  t.notThrows(() => new TraceControl(undefined).check("", { file: "", level: null, rate: 5 }));
});

const change = fc.record(
  {
    file: fc.option(fc.constantFrom("a", "b", "")),
    level: fc.option(fc.constantFrom("OFF" as const, "TIMESTAMPS" as const)),
    rate: fc.option(fc.integer({ min: 1, max: 9 })),
    count: fc.option(fc.integer({ min: -1, max: 9 })),
    logFrequency: fc.option(fc.integer({ min: 0, max: 9 })),
  },
  { requiredKeys: [] },
);

test("settings are those of the model, else of the server, else those at start, in any order of changes", (t) => {
  const start = new TraceControl(undefined).settingsOf("");
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom("", "m", "n"), change), { maxLength: 20 }),
      (changes) => {
        const control = new TraceControl(undefined);
        const set: Record<string, Record<string, unknown>> = { "": {}, m: {}, n: {} };
        for (const [scope, given] of changes) {
          control.change(scope, given);
          for (const [key, value] of Object.entries(given)) {
            if (value === null) delete set[scope]![key];
            else set[scope]![key] = value;
          }
          for (const model of ["", "m", "n"])
            t.deepEqual(control.settingsOf(model) as object, {
              ...start,
              ...set[""],
              ...set[model],
            });
        }
      },
    ),
  );
});
