import { nearestName } from "../config/nearest-name.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import type { Command } from "./command.ts";
import { commandError } from "./command-error.ts";
import { commandHelp, programHelp } from "./help.ts";
import { packageVersion } from "./package-version.ts";
import type { Program } from "./program.ts";

/**
 * Runs the command that the arguments name.
 *
 * @param argv - arguments behind the program's name
 * @returns the exit code
 */
export async function dispatch(
  commands: readonly Command[],
  argv: readonly string[],
  program: Program,
): Promise<number> {
  const { stdout, stderr } = program;
  const [name, ...rest] = argv;
  const flags = rest.slice(0, rest.includes("--") ? rest.indexOf("--") : undefined);
  if (name === undefined || name === "help" || isHelp(name)) {
    if (name === "help" && rest[0] !== undefined) return helpAbout(commands, rest[0], program);
    // Without arguments the program was not used as it is meant to be, so help is no output.
    const sink = name === undefined ? stderr : stdout;
    sink.write(programHelp(commands, sink));
    return name === undefined ? exitCodes.usage : exitCodes.ok;
  }
  if (name === "version" || name === "--version" || name === "-v") {
    stdout.write(`tensorwire ${packageVersion()} (Node ${process.versions.node})\n`);
    return exitCodes.ok;
  }
  const command = commands.find((candidate) => candidate.name === name);
  if (!command) {
    stderr.write(unknownCommand(commands, name));
    return exitCodes.usage;
  }
  if (flags.some(isHelp)) {
    stdout.write(commandHelp(command, stdout));
    return exitCodes.ok;
  }
  try {
    return await command.run(rest, program);
  } catch (error) {
    const { text, exitCode } = commandError(error, command.name);
    stderr.write(text);
    return exitCode;
  }
}

function helpAbout(
  commands: readonly Command[],
  name: string,
  { stdout, stderr }: Program,
): number {
  const command = commands.find((candidate) => candidate.name === name);
  if (command) {
    stdout.write(commandHelp(command, stdout));
    return exitCodes.ok;
  }
  if (isHelp(name) || name === "help" || name === "version") {
    stdout.write(programHelp(commands, stdout));
    return exitCodes.ok;
  }
  stderr.write(unknownCommand(commands, name));
  return exitCodes.usage;
}

function isHelp(argument: string): boolean {
  return argument === "--help" || argument === "-h";
}

function unknownCommand(commands: readonly Command[], given: string): string {
  const names = [...commands.map(({ name }) => name), "version", "help"];
  const near = nearestName(given, names);
  const hint = near === undefined ? "" : `; did you mean ${near}?`;
  return `tensorwire: unknown command ${given}${hint}\nCommands are ${names.join(", ")}. See tensorwire --help.\n`;
}
