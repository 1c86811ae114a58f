import { defaultText } from "../config/parse-value.ts";
import { environmentName } from "../config/resolve-settings.ts";
import type { Setting, Settings } from "../config/setting.ts";
import type { Command } from "./command.ts";
import { textTable, wrapText } from "./text-table.ts";

const maxWidth = 100;
const helpIndent = " ".repeat(6);

/** Meaning of the exit codes. */
export const exitCodeRows: readonly (readonly [string, string])[] = [
  ["0", "done; for serve: stopped by a signal, and every call in flight ended"],
  ["1", "the call or the work failed"],
  ["2", "wrong usage: an unknown command or setting, or an impossible value"],
  ["3", "serve could not listen"],
  ["4", "the model repository cannot be read, or a model failed under --exit-on-error"],
  ["5", "calls were still in flight when --drain-timeout passed"],
  ["130, 143", "a second SIGINT or SIGTERM"],
];

/** Help of the program as a whole. */
export function programHelp(commands: readonly Command[]): string {
  return [
    "tensorwire serves ONNX models over gRPC, gRPC-Web, Connect and REST on one port.",
    "",
    "Usage: tensorwire <command> [arguments]",
    "",
    "Commands:",
    textTable(
      [
        ...commands.map(({ name, summary }) => [name, summary]),
        ["help <command>", "what a command does and takes"],
      ],
      "  ",
    ),
    "",
    "Start here:",
    textTable(
      [
        ["tensorwire serve ./models", "serve a folder of models"],
        ["tensorwire models", "what is served, and whether it is ready"],
        ["tensorwire infer iris --input input=5.1,3.5,1.4,0.2", "call a model"],
      ],
      "  ",
    ),
    "",
    "Exit codes:",
    textTable(exitCodeRows, "  "),
    "",
  ].join("\n");
}

/** Help of a command. */
export function commandHelp(command: Command, columns: number): string {
  const width = Math.min(Math.max(columns, 60), maxWidth);
  const lines = [
    `Usage: tensorwire ${command.name} ${command.usage} [settings]`,
    "",
    ...command.description.split("\n").flatMap((paragraph) => wrapText(paragraph, width)),
    "",
    "Examples:",
    ...command.examples.flatMap(([example, meaning]) => [
      `  ${example}`,
      `${helpIndent}${meaning}`,
    ]),
  ];
  for (const [group, settings] of groups(command.settings)) {
    lines.push("", `${group}:`);
    for (const [flag, setting] of settings) {
      lines.push(`  ${flagText(flag, setting)}`);
      lines.push(
        ...wrapText(setting.help + suffix(setting), width - helpIndent.length).map(
          (line) => helpIndent + line,
        ),
      );
    }
  }
  const [example = ""] = Object.keys(command.settings);
  lines.push(
    "",
    ...wrapText(
      `Every setting is also an environment variable (--${example} is ${environmentName(example)}) and, where there is --config, a key of that file. A flag counts before a variable, a variable before the file.`,
      width,
    ),
    "",
  );
  return lines.join("\n");
}

function groups(settings: Settings): Map<string, [string, Setting][]> {
  const grouped = new Map<string, [string, Setting][]>();
  for (const [flag, setting] of Object.entries(settings)) {
    const group = grouped.get(setting.group) ?? [];
    group.push([flag, setting]);
    grouped.set(setting.group, group);
  }
  return grouped;
}

function flagText(flag: string, setting: Setting): string {
  return setting.kind === "boolean"
    ? `--${setting.default ? "no-" : ""}${flag}`
    : `--${flag} ${placeholder(setting)}`;
}

/** What stands behind a flag in help and reference. */
export function placeholder(setting: Setting): string {
  switch (setting.kind) {
    case "choice":
      return setting.choices.join("|");
    case "integer":
      return "N";
    case "duration":
      return "TIME";
    case "bytes":
      return "SIZE";
    case "path":
      return "PATH";
    case "list":
      return "A,B,...";
    case "text":
    case "boolean":
      return "TEXT";
  }
}

function suffix(setting: Setting): string {
  const text = setting.kind === "boolean" ? "" : defaultText(setting);
  return text === "" ? "." : `. Default ${text}.`;
}
