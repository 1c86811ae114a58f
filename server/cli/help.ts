import { styleText } from "node:util";
import { environmentName } from "../config/environment-name.ts";
import { defaultText } from "../config/parse-value.ts";
import { placeholderOf } from "../config/placeholder.ts";
import type { Setting } from "../config/setting.ts";
import { settingGroups } from "../config/setting-groups.ts";
import { exitCodeMeanings } from "../lifecycle/exit-codes.ts";
import type { Command, Example } from "./command.ts";
import type { TextSink } from "./program.ts";
import { definitionList, wrapText } from "./text-layout.ts";

const minWidth = 80;
const maxWidth = 100;
const settingIndent = " ".repeat(6);

/** How help is laid out. */
export type HelpLayout = Pick<TextSink, "columns" | "color">;

/** Help of the program as a whole. */
export function programHelp(commands: readonly Command[], layout: HelpLayout): string {
  const width = widthOf(layout);
  const heading = headingOf(layout);
  const rows = commands.map(({ name, summary }) => [name, summary] as const);
  return join([
    "Tensorwire serves ONNX models over gRPC, gRPC-Web, Connect and REST on one port.",
    "",
    heading("Usage"),
    "  tensorwire <command> [arguments] [settings]",
    "",
    heading("Commands"),
    ...definitionList(
      [
        ...rows,
        ["version", "print the version; the same as --version"],
        ["help", "print this, or with the name of a command what it does and takes"],
      ],
      width,
    ),
    "",
    heading("Examples"),
    ...exampleLines([
      ["tensorwire serve ./models", "serve a folder of models on http://127.0.0.1:8080"],
      ["tensorwire models", "what is served there, and what its inputs and outputs are"],
      ["tensorwire infer iris --input input=5.1,3.5,1.4,0.2", "call one of the models"],
    ]),
    "",
    heading("Settings"),
    ...wrapText(
      "Every setting is a flag, an environment variable and a key of a settings file. `tensorwire help serve` lists those of serve with their defaults.",
      width - 2,
    ).map((line) => `  ${line}`),
    "",
    heading("Exit codes"),
    ...definitionList(exitCodeMeanings, width),
  ]);
}

/** Help of a command. */
export function commandHelp(command: Command, layout: HelpLayout): string {
  const width = widthOf(layout);
  const heading = headingOf(layout);
  const lines = [
    `tensorwire ${command.name}: ${command.summary}`,
    "",
    heading("Usage"),
    `  tensorwire ${command.name} ${command.usage} [settings]`,
    "",
    ...command.description.flatMap((paragraph) => wrapText(paragraph, width)),
    "",
    heading("Examples"),
    ...exampleLines(command.examples),
  ];
  for (const [group, settings] of settingGroups(command.settings)) {
    lines.push("", heading(group));
    for (const [flag, setting] of settings) lines.push(...settingLines(flag, setting, width));
  }
  const note =
    "config" in command.settings
      ? "A flag counts before its environment variable, that before the file of --config, and that before the default."
      : "A flag counts before its environment variable.";
  lines.push("", ...wrapText(note, width));
  lines.push("", heading("Exit codes"), ...definitionList(exitCodeMeanings, width));
  return join(lines);
}

/** A setting as its flag is written: `--port NUMBER`, `--no-banner`. */
export function flagText(flag: string, setting: Setting): string {
  if (setting.kind === "boolean") return `--${setting.default ? "no-" : ""}${flag}`;
  return `--${flag} ${placeholderOf(setting)}`;
}

function settingLines(flag: string, setting: Setting, width: number): string[] {
  const fallback = setting.kind === "boolean" ? "" : defaultText(setting);
  const aliases = [...(setting.aliases ?? [])].map((alias) => `--${alias}`).join(", ");
  const facts = [
    fallback === "" ? "" : `Default ${fallback}.`,
    aliases === "" ? "" : `Also ${aliases}.`,
    `[${environmentName(flag)}]`,
  ].filter((fact) => fact !== "");
  return [
    `  ${flagText(flag, setting)}`,
    ...wrapText(`${setting.help}. ${facts.join(" ")}`, width - settingIndent.length).map(
      (line) => settingIndent + line,
    ),
  ];
}

function exampleLines(examples: readonly Example[]): string[] {
  return examples.flatMap(([command, meaning]) => [`  ${command}`, `${settingIndent}${meaning}`]);
}

function widthOf({ columns }: HelpLayout): number {
  return Math.min(Math.max(columns, minWidth), maxWidth);
}

function headingOf({ color }: HelpLayout): (text: string) => string {
  return (text) => (color ? styleText("bold", text, { validateStream: false }) : text);
}

function join(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
