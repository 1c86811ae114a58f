import test from "ava";
import { createLogger, type LogFormat, type LogStream } from "../../server/observability/logger.ts";

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
