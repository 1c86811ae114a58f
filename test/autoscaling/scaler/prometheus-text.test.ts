import test from "ava";
import fc from "fast-check";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { parsePrometheusText } from "../../../server/autoscaling/scaler/prometheus-text.ts";

test("it reads what prom-client writes", async (t) => {
  const registry = new Registry();
  const registers = [registry];
  new Counter({
    name: "calls_total",
    help: 'with "quotes"\nand lines',
    labelNames: ["code"],
    registers,
  })
    .labels({ code: "OK" })
    .inc(3);
  const odd = 'a "b" \\ c,d}=\n{é';
  new Gauge({ name: "odd", help: "h", labelNames: ["text", "other"], registers })
    .labels({ text: odd, other: "" })
    .set(-2.5e-7);
  new Histogram({ name: "seconds", help: "h", buckets: [0.1, 1], registers }).observe(0.5);
  const samples = parsePrometheusText(await registry.metrics(), () => true);
  const of = (name: string) =>
    samples.filter((sample) => sample.name === name).map(({ labels, value }) => [labels, value]);
  t.deepEqual(of("calls_total"), [[{ code: "OK" }, 3]]);
  t.deepEqual(of("odd"), [[{ text: odd, other: "" }, -2.5e-7]]);
  t.deepEqual(of("seconds_bucket"), [
    [{ le: "0.1" }, 0],
    [{ le: "1" }, 1],
    [{ le: "+Inf" }, 1],
  ]);
});

test("labels of any text come back, and metrics that are not wanted are not taken apart", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const escaped = text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
      if (escaped.includes("\r")) return;
      const rows = `# HELP x y\nx{a="${escaped}",b="1"} 5 1700000000000\nbroken{ 1\n`;
      const [sample, ...others] = parsePrometheusText(rows, (name) => name === "x");
      t.deepEqual(sample, { name: "x", labels: { a: text, b: "1" }, value: 5 });
      t.deepEqual(others, []);
    }),
  );
});

test("infinite values are read, and what is no sample is named", (t) => {
  const values = parsePrometheusText("x +Inf\nx -Inf\nx NaN\n", () => true).map(
    ({ value }) => value,
  );
  t.deepEqual(values, [Infinity, -Infinity, Number.NaN]);
  for (const row of ["x", 'x{a="1} 2', "x{a} 2", "x two", "1x 2"]) {
    t.throws(() => parsePrometheusText(`${row}\n`, () => true), { message: /is no|are none/ }, row);
  }
});
