import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { simulateCommand } from "../../server/cli/simulate.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { recordingProgram } from "./recording-program.ts";

test("a load is run through each autoscaler, told as a table and drawn", async (t) => {
  const svg = join(await temporaryFolder(t, {}), "scale.svg");
  const program = recordingProgram();
  const argv = [
    "--load",
    "20:30s,0:3m",
    "--scaler",
    "kpa,hpa,keda,fixed",
    "--max-scale",
    "3",
    "--svg",
    svg,
  ];
  t.is(await simulateCommand.run(argv, program), 0);
  const text = program.written();
  for (const scaler of ["kpa", "hpa", "keda", "fixed"])
    t.regex(text, new RegExp(`^${scaler} +\\d+`, "m"));
  t.regex(text, /^KEDA +REQ\/S/m);
  t.regex(await readFile(svg, "utf8"), /^<svg /);
});

test("JSON has a row a second, and the same seed gives the same text", async (t) => {
  const folder = await temporaryFolder(t, { "trace.csv": "0,10\n60,0\n120,0\n" });
  const argv = ["--trace", join(folder, "trace.csv"), "--json", "--seed", "7"];
  const [first, second] = [recordingProgram(), recordingProgram()];
  t.is(await simulateCommand.run(argv, first), 0);
  t.is(await simulateCommand.run(argv, second), 0);
  t.is(first.written(), second.written());
  const [simulation] = JSON.parse(first.written()).simulations;
  t.is(simulation.scaler, "kpa");
  t.is(simulation.seconds.length, 120);
  t.is(simulation.answered, simulation.came);
});

for (const [argv, says] of [
  [[], /either --load PHASES.*or --trace FILE/],
  [["--load", "1:1m", "--trace", "x"], /either --load/],
  [["--load", "fast"], /got fast, expected a phase/],
  [["--trace", "/nowhere/x.csv"], /\/nowhere\/x.csv cannot be read/],
  [["--load", "1:1m", "--scaler", "vpa"], /got vpa, expected one or more of kpa, hpa, keda, fixed/],
  [["--load", "1:1m", "--target", "-3"], /--target: got -3, expected a number from 0.01 on/],
  [["--load", "1:1m", "more"], /got argument more/],
  [["--load", "1:1m", "--svg", "/nowhere/x.svg"], /\/nowhere\/x.svg cannot be written/],
] as const) {
  test(`${argv.join(" ") || "no load"} is refused with what is expected`, async (t) => {
    await t.throwsAsync(simulateCommand.run(argv, recordingProgram()), { message: says });
  });
}
