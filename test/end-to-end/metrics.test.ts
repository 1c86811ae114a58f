import { readFile } from "node:fs/promises";
import test from "ava";
import { registry } from "../../server/errors/registry.ts";
import { tritonFailure, tritonFailures } from "../../server/predictor/failure-reason.ts";
import { startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const page = await readFile(new URL("../../docs/metrics.md", import.meta.url), "utf8");

test("docs/metrics.md lists the metrics under Triton's names, and no other", async (t) => {
  const models = await temporaryFolder(t, { "adder/1/model.onnx": addModel(1) });
  const traces = await temporaryFolder(t, {});
  const server = await startServer(t, [
    models,
    ...["--response-cache-size", "1MiB", "--trace-dir", traces],
  ]);
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const served = [...text.matchAll(/^# TYPE (nv_\w+) /gm)].map(([, name]) => name!);
  const documented = [...page.matchAll(/^\| (`nv_.*?) \|/gm)].flatMap(([, names]) =>
    [...names!.matchAll(/`(nv_\w+)`/g)].map(([, name]) => name!),
  );
  t.deepEqual([...new Set(documented)].sort(), served.sort());
  // Of the others the page names some; none that is not there.
  for (const [, name] of page.matchAll(/`(tensorwire_\w+)/g))
    t.true(text.includes(`# HELP ${name} `), name);
});

test("docs/metrics.md says which reasons are which of Triton's", (t) => {
  const rows = [...page.matchAll(/^\| `([A-Z]+)` \| .* \| (.*) \|$/gm)];
  t.deepEqual(
    rows.map(([, failure]) => failure),
    [...tritonFailures],
  );
  for (const [, failure, reasons] of rows.slice(0, -1)) {
    const expected = Object.keys(registry).filter((reason) => tritonFailure(reason) === failure);
    t.deepEqual(reasons!.split(", ").sort(), expected.sort(), failure);
  }
});
