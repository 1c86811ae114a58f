import { readSoakOptions, type SoakOptions, soakUsage } from "./options.ts";
import { soak } from "./soak.ts";

function readOptions(): SoakOptions | undefined {
  try {
    return readSoakOptions(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}

const options = readOptions();
if (options === undefined) console.log(soakUsage);
else {
  const checks = await soak(options, (line) => console.log(line));
  for (const { name, holds, detail } of checks) {
    console.log(`${holds ? "holds" : "FAILS"}  ${name}${detail === "" ? "" : `: ${detail}`}`);
  }
  process.exitCode = checks.every(({ holds }) => holds) ? 0 : 1;
}
