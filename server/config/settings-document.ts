import { environmentName } from "./environment-name.ts";
import { defaultText } from "./parse-value.ts";
import { placeholderOf } from "./placeholder.ts";
import type { Setting } from "./setting.ts";
import { settingGroups } from "./setting-groups.ts";
import { settingsByCommand } from "./settings-by-command.ts";

const introduction = `# Settings

Every setting is a flag, an environment variable, and a key of a settings file. A flag counts before its
variable, a variable before the file, the file before the default. The file is YAML or JSON; \`--config\`
or \`TENSORWIRE_CONFIG\` names it, and its keys are the flags' names:

\`\`\`yaml
model-repository: [/mnt/models]
port: 9000
max-message-size: 256MiB
\`\`\`

An unknown flag, key or \`TENSORWIRE_*\` variable, and a value that a setting cannot have, is refused by
name before anything starts, with exit code 2. The variables that Kubernetes makes for a Service whose
name begins with \`tensorwire\` (such as \`TENSORWIRE_PORT=tcp://10.0.0.1:80\`) are not settings and let
pass. An empty variable counts as not set.

| kind | values |
|---|---|
| true or false | as flag \`--x\` or \`--no-x\`; elsewhere true, false, 1, 0, yes, no, on, off |
| TIME | \`500ms\`, \`10s\`, \`5m\`, \`1h\` |
| SIZE | bytes, or \`64KiB\`, \`64MiB\`, \`1GiB\`; \`64kB\`, \`64MB\` and \`1GB\` are powers of ten |
| list | texts parted by commas; the flag may also be given again; in a file also a list |

This page is made from the declarations in server/config by \`npm run generate\`.
`;

/** The reference of all settings, as docs/settings.md has it. */
export function settingsDocument(): string {
  const sections = Object.entries(settingsByCommand).map(([command, settings]) => {
    const groups = [...settingGroups(settings)].map(([group, members]) =>
      [
        `### ${group}`,
        "",
        "| flag | variable | default | meaning |",
        "|---|---|---|---|",
        ...members.map(([flag, setting]) => row(flag, setting)),
        "",
      ].join("\n"),
    );
    return `## tensorwire ${command}\n\n${groups.join("\n")}`;
  });
  return [introduction, ...sections].join("\n");
}

function row(flag: string, setting: Setting): string {
  const aliases = [
    ...(setting.aliases ?? []).map((alias) => `\`--${alias}\``),
    ...(setting.kind === "boolean" ? (setting.opposites ?? []) : []).map(
      (opposite) => `\`--${opposite}\` for false`,
    ),
  ];
  const meaning =
    aliases.length === 0 ? setting.help : `${setting.help}. Also ${aliases.join(", ")}`;
  const fallback = defaultText(setting);
  const cells = [
    code(setting.kind === "boolean" ? `--${flag}` : `--${flag} ${placeholderOf(setting)}`),
    code(environmentName(flag)),
    fallback === "" ? "" : code(fallback),
    meaning,
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}
