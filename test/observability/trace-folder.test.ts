import { lstat, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { Registry } from "prom-client";
import { TraceFolder } from "../../server/observability/trace-folder.ts";
import { recordingLog } from "../support/silent-log.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

async function openFolder(t: ExecutionContext, limitBytes = 1_000_000, suffix = "") {
  const path = await temporaryFolder(t, {});
  const registry = new Registry();
  const log = recordingLog();
  const open = () => TraceFolder.open({ path, limitBytes, suffix, registry: new Registry(), log });
  const folder = await TraceFolder.open({ path, limitBytes, suffix, registry, log });
  const metrics = async (): Promise<readonly string[]> =>
    (await registry.metrics()).split("\n").filter((line) => /^\w/.test(line));
  return { path, folder, log, metrics, open };
}

const json = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, "utf8"));

test("one file grows, and is JSON after each write", async (t) => {
  const { path, folder, metrics } = await openFolder(t);
  for (let n = 1; n <= 3; n++) {
    folder.write("t.json", "whole", `{"n":${n}}`, 1);
    await folder.idle();
    t.deepEqual(
      await json(join(path, "t.json")),
      Array.from({ length: n }, (_, index) => ({ n: index + 1 })),
    );
  }
  t.deepEqual(await readdir(path), ["t.json"]);
  t.deepEqual(await metrics(), ["tensorwire_traces_written_total 3"]);
});

test("a file of an earlier run is begun anew, and one that was moved away is made again", async (t) => {
  const { path, folder } = await openFolder(t);
  await writeFile(join(path, "t.json"), '[{"old":1},{"old":2}]');
  folder.write("t.json", "whole", '{"n":1}', 1);
  await folder.idle();
  t.deepEqual(await json(join(path, "t.json")), [{ n: 1 }]);
  await writeFile(join(path, "t.json"), "");
  folder.write("t.json", "whole", '{"n":2}', 1);
  await folder.idle();
  t.deepEqual(await json(join(path, "t.json")), [{ n: 2 }]);
});

test("numbered files count from 0 for each name, and leave nothing unfinished", async (t) => {
  const { path, folder } = await openFolder(t, 1_000_000, ".worker-2");
  folder.write("a", "numbered", '{"n":1},{"n":2}', 2);
  folder.write("a", "numbered", '{"n":3}', 1);
  folder.write("b", "numbered", '{"n":4}', 1);
  await folder.idle();
  t.deepEqual((await readdir(path)).sort(), ["a.worker-2.0", "a.worker-2.1", "b.worker-2.0"]);
  t.deepEqual(await json(join(path, "a.worker-2.0")), [{ n: 1 }, { n: 2 }]);
  t.deepEqual(await json(join(path, "a.worker-2.1")), [{ n: 3 }]);
});

test("the folder grows no larger than its limit, with what others wrote; the log says so once", async (t) => {
  const { path, folder, log, metrics } = await openFolder(t, 1000);
  const text = `{"text":"${"x".repeat(300)}"}`;
  for (let n = 0; n < 5; n++) folder.write("t", "numbered", text, 2);
  await folder.idle();
  t.deepEqual((await readdir(path)).sort(), ["t.0", "t.1", "t.2"]);
  t.deepEqual(await metrics(), [
    "tensorwire_traces_written_total 6",
    'tensorwire_traces_dropped_total{reason="folder_full"} 4',
  ]);
  t.is(log.entries.length, 1);
  t.like(log.entries[0]!.fields, { reason: "folder_full" });
});

test("what lies in the folder already counts", async (t) => {
  const { path, open } = await openFolder(t, 1000);
  await writeFile(join(path, "of-others"), "x".repeat(990));
  const folder = await open();
  folder.write("t", "numbered", '{"n":123456789}', 1);
  await folder.idle();
  t.deepEqual(await readdir(path), ["of-others"]);
});

test("a link in place of a file does not lead out of the folder", async (t) => {
  const { path, folder, metrics } = await openFolder(t);
  const outside = join(await temporaryFolder(t, {}), "victim");
  await writeFile(outside, "precious");
  await symlink(outside, join(path, "t"));
  await symlink(outside, join(path, "t.0"));
  folder.write("t", "whole", '{"n":1}', 1);
  folder.write("t", "numbered", '{"n":2}', 1);
  await folder.idle();
  t.is(await readFile(outside, "utf8"), "precious");
  t.true((await lstat(join(path, "t.0"))).isFile(), "the link itself is replaced");
  t.deepEqual(await metrics(), [
    "tensorwire_traces_written_total 1",
    'tensorwire_traces_dropped_total{reason="write_failed"} 1',
  ]);
});

test("traces that come faster than they are written are left out", async (t) => {
  const { folder, metrics } = await openFolder(t, 100_000_000);
  const text = `"${"x".repeat(5_000_000)}"`;
  for (let n = 0; n < 5; n++) folder.write("t", "whole", text, 1);
  await folder.idle();
  t.deepEqual(await metrics(), [
    "tensorwire_traces_written_total 3",
    'tensorwire_traces_dropped_total{reason="buffer_full"} 2',
  ]);
});
