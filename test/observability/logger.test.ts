import test from "ava";
import type { LogFormat, LogLevel } from "../../server/observability/log-settings.ts";
import { createLogger, type LogStream } from "../../server/observability/logger.ts";

function recording(isTTY = false): LogStream & { readonly text: () => string } {
  let text = "";
  return {
    isTTY,
    write(chunk) {
      text += chunk;
    },
    text: () => text,
  };
}

test("JSON entries have a level by name, an ISO time and the message, one a line", (t) => {
  const stream = recording();
  const log = createLogger("info", "json", stream);
  log.info({ model: "iris" }, "loaded");
  log.warn({}, "careful");
  const entries = stream
    .text()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  t.like(entries[0], { level: "info", model: "iris", msg: "loaded" });
  t.is(new Date(entries[0].time).toISOString(), entries[0].time);
  t.like(entries[1], { level: "warn", msg: "careful" });
});

test("text entries are lines for people", (t) => {
  const stream = recording();
  createLogger("info", "text", stream).info({ model: "iris", ms: 5, why: "a b" }, "loaded");
  t.regex(stream.text(), /^\d\d:\d\d:\d\d INFO {2}loaded model=iris ms=5 why="a b"\n$/);
});

test("a value cannot end its line of text", (t) => {
  const stream = recording();
  createLogger("info", "text", stream).info({ model: "a\n12:00:00 ERROR fake" }, "loaded");
  t.is(stream.text().split("\n").length, 2);
});

test("an error is shown with its trace", (t) => {
  const stream = recording();
  createLogger("info", "text", stream).error({ err: new TypeError("broken") }, "failed");
  t.regex(stream.text(), /ERROR failed\n {6}TypeError: broken\n {6} +at /);
});

const formats: readonly (readonly [LogFormat, boolean, "text" | "json"])[] = [
  ["auto", true, "text"],
  ["auto", false, "json"],
  ["json", true, "json"],
  ["text", false, "text"],
];
for (const [format, isTTY, expected] of formats) {
  test(`format ${format} on ${isTTY ? "a terminal" : "a pipe"} is ${expected}`, (t) => {
    const stream = recording(isTTY);
    createLogger("info", format, stream).info({}, "hello");
    t.is(stream.text().startsWith("{") ? "json" : "text", expected);
  });
}

test("entries below the level are left out", (t) => {
  const stream = recording();
  const log = createLogger("warn", "json", stream);
  log.info({}, "quiet");
  log.error({}, "loud");
  t.deepEqual(
    stream
      .text()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).msg),
    ["loud"],
  );
});

test("secrets never reach the log, at the top and two levels down", (t) => {
  const stream = recording();
  createLogger("info", "json", stream).info(
    {
      token: "hunter2",
      headers: { authorization: "Bearer hunter2", "x-request-id": "7" },
      request: { headers: { authorization: "Bearer hunter2" } },
    },
    "call",
  );
  t.false(stream.text().includes("hunter2"));
  t.true(stream.text().includes('"x-request-id":"7"'));
});

/** Writes an entry of each level; gives the levels that came out. */
function levelsOf(log: ReturnType<typeof createLogger>, stream: { text: () => string }): string[] {
  const before = stream.text().length;
  for (const level of ["debug", "info", "warn", "error"] as const) log[level]({}, "entry");
  const lines = stream.text().slice(before).split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line).level);
}

const atStart: readonly (readonly [LogLevel, readonly string[]])[] = [
  ["trace", ["debug", "info", "warn", "error"]],
  ["debug", ["debug", "info", "warn", "error"]],
  ["info", ["info", "warn", "error"]],
  ["warn", ["warn", "error"]],
  ["error", ["error"]],
];
for (const [level, expected] of atStart) {
  test(`level ${level} at start logs ${expected.join(", ")}`, (t) => {
    const stream = recording();
    t.deepEqual(levelsOf(createLogger(level, "json", stream), stream), [...expected]);
  });
}

test("each level has a switch of its own, which holds for children that were made before", (t) => {
  const stream = recording();
  const log = createLogger("info", "json", stream);
  const child = log.child({ worker: 1 });
  log.change({ info: false, verboseLevel: 1 });
  t.deepEqual(levelsOf(child, stream), ["debug", "warn", "error"]);
  child.change({ error: false, warning: false, verboseLevel: 0 });
  t.deepEqual(levelsOf(log, stream), []);
  log.change({ info: true });
  t.deepEqual(levelsOf(child, stream), ["info"]);
  t.is(JSON.parse(stream.text().trimEnd().split("\n").at(-1)!).worker, 1);
});

test("what the audit is told is logged as at the start, whatever is switched off", (t) => {
  const stream = recording();
  const log = createLogger("info", "json", stream);
  const audit = log.child({ worker: 1 }).asStarted() as typeof log;
  log.change({ info: false, warning: false, error: false, verboseLevel: 1 });
  t.deepEqual(levelsOf(audit, stream), ["info", "warn", "error"]);
  t.deepEqual(levelsOf(log, stream), ["debug"]);
});

test("the form of the entries changes while the log runs", (t) => {
  const stream = recording();
  const log = createLogger("info", "json", stream);
  const line = (): string => {
    log.info({ n: 1 }, "hello");
    return stream.text().trimEnd().split("\n").at(-1)!;
  };
  t.is(JSON.parse(line()).msg, "hello");
  log.change({ style: "text" });
  t.regex(line(), /^\d\d:\d\d:\d\d INFO {2}hello n=1$/);
  log.change({ style: "ISO8601" });
  t.regex(line(), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO {2}hello n=1$/);
  log.change({ style: "json" });
  t.is(JSON.parse(line()).msg, "hello");
  log.change({ style: "default" });
  t.is(JSON.parse(line()).msg, "hello");
});
