import { Random } from "../soak/random.ts";
import { type FaultCommand, type FaultOptions, faultUsage, readFaultOptions } from "./options.ts";
import { scenarios } from "./scenarios/scenarios.ts";

function readCommand(): FaultCommand {
  try {
    return readFaultOptions(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(2);
  }
}

async function run({ scenarios: names, rounds, patience, seed }: FaultOptions): Promise<void> {
  const unknown = names.find((name) => scenarios.every((one) => one.name !== name));
  if (unknown !== undefined) {
    console.error(`there is no scenario "${unknown}"; --list lists them`);
    process.exit(2);
  }
  console.log(`seed ${seed}`);
  for (const scenario of scenarios) {
    if (names.length > 0 && !names.includes(scenario.name)) continue;
    console.log(`\n${scenario.name}: ${scenario.about}`);
    const tell = (line: string): void => console.log(`  ${line}`);
    const checks = await scenario.run({ rounds, patience, random: new Random(seed), tell });
    for (const { name, holds, detail } of checks) {
      console.log(`${holds ? "holds" : "FAILS"}  ${name}: ${detail}`);
      if (!holds) process.exitCode = 1;
    }
  }
}

const command = readCommand();
switch (command.kind) {
  case "help":
    console.log(faultUsage);
    break;
  case "list":
    for (const { name, about } of scenarios) console.log(`${name}: ${about}`);
    break;
  case "run":
    await run(command.options);
    break;
}
