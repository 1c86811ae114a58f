import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findTool, runTool } from "../support/tools.ts";

// Triton's load generator: it reads metadata, configuration and statistics of a model, makes calls, and
// reports what the client and what the server says of them. Each level of load ends after some windows of
// so many calls, whatever their times are.

const examples = fileURLToPath(new URL("../../examples/models", import.meta.url));
const analyzer = findTool("perf_analyzer");
const maybe = analyzer ? test.serial : test.serial.skip;

const bounds = [
  ...["--measurement-mode", "count_windows", "--measurement-request-count", "100"],
  // Stable is what is within so many percent: a loaded machine gets there too.
  ...["--stability-percentage", "100000", "--max-trials", "3"],
];

/** A row of the report: a level of load. */
type Level = Readonly<Record<string, number>>;

async function analyze(
  t: ExecutionContext,
  { address }: RunningServer,
  ...args: readonly string[]
): Promise<{ readonly levels: readonly Level[]; readonly output: string }> {
  const report = join(await temporaryFolder(t, {}), "report.csv");
  const { code, output } = await runTool(analyzer!, [
    "-u",
    address,
    ...bounds,
    "-f",
    report,
    ...args,
  ]);
  t.is(code, 0, output);
  t.notRegex(output, /error|fail(?!ed request count: 0)/i);
  const [head, ...rows] = (await readFile(report, "utf8")).trim().split("\n");
  const names = head!.split(",");
  const levels = rows.map((row) => {
    const values = row.split(",").map(Number);
    return Object.fromEntries(names.map((name, index) => [name, values[index]!]));
  });
  return { levels, output };
}

/** Counts of the server: calls that ended by status, and of the model those that failed. */
async function ended({ url }: RunningServer): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const sums: Record<string, number> = {};
  for (const [, name, labels, value] of text.matchAll(/^(\w+)\{([^}]*)\} (\S+)$/gm)) {
    const key =
      name === "grpc_server_handled_total"
        ? /grpc_code="(\w+)"/.exec(labels!)![1]!
        : /^nv_inference_request_(success|failure)$/.test(name!)
          ? name!
          : undefined;
    if (key !== undefined) sums[key] = (sums[key] ?? 0) + Number(value);
  }
  return sums;
}

const loads = {
  "gRPC, 1, 4 and 7 calls at once": {
    args: ["-m", "iris", "-i", "grpc", "--concurrency-range", "1:7:3"],
    levels: [1, 4, 7],
    rows: 1,
  },
  "gRPC, batches of 8 rows": {
    args: ["-m", "iris", "-i", "grpc", "-b", "8", "--concurrency-range", "1:3:2"],
    levels: [1, 3],
    rows: 8,
  },
  "gRPC, streams": {
    args: ["-m", "iris", "-i", "grpc", "--async", "--streaming", "--concurrency-range", "4"],
    levels: [4],
    rows: 1,
  },
  "HTTP, 1, 4 and 7 calls at once": {
    args: ["-m", "iris", "-i", "http", "--concurrency-range", "1:7:3"],
    levels: [1, 4, 7],
    rows: 1,
  },
  "gRPC, a shape that is open": {
    args: [
      "-m",
      "identity",
      "-i",
      "grpc",
      "--shape",
      "INPUT0:1000",
      "--concurrency-range",
      "1:4:3",
    ],
    levels: [1, 4],
    rows: 1,
  },
  "HTTP, a shape that is open": {
    args: [
      "-m",
      "identity",
      "-i",
      "http",
      "--shape",
      "INPUT0:1000",
      "--concurrency-range",
      "1:4:3",
    ],
    levels: [1, 4],
    rows: 1,
  },
} as const;

for (const [name, { args, levels: expected, rows }] of Object.entries(loads)) {
  maybe(`perf_analyzer: ${name}`, async (t) => {
    const server = await startServer(t, [examples]);
    const { levels, output } = await analyze(t, server, ...args);
    t.deepEqual(
      levels.map((level) => level.Concurrency),
      [...expected],
    );
    for (const level of levels) t.true(level["Inferences/Second"]! > 0, output);
    const calls = [...output.matchAll(/^ +Request count: (\d+)$/gm)].map(([, count]) =>
      Number(count),
    );
    t.is(calls.length, expected.length);
    for (const count of calls) t.true(count >= 100, output);
    // What the server says of the same time, read by the analyzer through ModelStatistics. Calls at the
    // borders of the windows count on one side only.
    const inferences = [...output.matchAll(/^ +Inference count: (\d+)$/gm)].map(([, count]) =>
      Number(count),
    );
    t.is(inferences.length, expected.length);
    for (const [index, count] of inferences.entries()) {
      const border = 4 * (expected[index]! + 1);
      t.true(Math.abs(count / rows - calls[index]!) <= border, output);
    }
    const counts = await ended(server);
    t.is(counts.nv_inference_request_failure, 0);
    t.true(counts.nv_inference_request_success! >= calls.reduce((sum, count) => sum + count, 0));
    const { OK = 0, Canceled = 0, ...others } = counts;
    // At its end the analyzer cancels what is under way.
    t.deepEqual(Object.keys(others).sort(), [
      "nv_inference_request_failure",
      "nv_inference_request_success",
    ]);
    t.true(Canceled <= 7 && ((args as readonly string[]).includes("http") || OK > 0));
    t.log(
      levels.map((level) => `${level.Concurrency}: ${level["Inferences/Second"]}/s`).join(", "),
    );
  });
}

for (const protocol of ["grpc", "http"] as const) {
  maybe(`perf_analyzer asks for traces over ${protocol}, and gets as many`, async (t) => {
    const traces = await temporaryFolder(t, {});
    const server = await startServer(t, [examples, "--trace-dir", traces]);
    // Where traces go is the server's affair; the rest is the analyzer's.
    const setting = await fetch(`${server.url}/v2/trace/setting`, {
      method: "POST",
      body: JSON.stringify({ trace_file: "analyzed" }),
    });
    t.is(setting.status, 200);
    await analyze(
      t,
      server,
      ...["-m", "iris", "-i", protocol, "--concurrency-range", "2"],
      ...["--trace-level", "TIMESTAMPS", "--trace-rate", "5", "--trace-count", "10"],
      ...["--log-frequency", "4"],
    );
    server.process.kill("SIGTERM");
    await server.ended;
    const files = (await readdir(traces)).sort();
    t.deepEqual(files, ["analyzed.0", "analyzed.1", "analyzed.2"]);
    const calls = await Promise.all(
      files.map(async (file) => {
        const entries = JSON.parse(await readFile(join(traces, file), "utf8")) as object[];
        return entries.filter((entry) => "model_name" in entry).length;
      }),
    );
    t.deepEqual(calls, [4, 4, 2]);
  });
}
