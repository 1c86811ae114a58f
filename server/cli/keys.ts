import { parseAccessFile } from "../access/access-file.ts";
import { createAccessKey, hashAccessKey } from "../access/access-key.ts";
import { keysSettings } from "../config/keys-settings.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import type { Command } from "./command.ts";
import type { Program } from "./program.ts";

/** `tensorwire keys`. */
export const keysCommand: Command = {
  name: "keys",
  summary: "make keys for callers of a server",
  usage: "create",
  description: [
    "Makes a random key. Its entry for the file of serve --api-keys goes to stdout, so that it can be appended to the file; it holds a hash of the key. The key itself goes to stderr, this once: it is kept nowhere.",
  ],
  examples: [
    [
      "tensorwire keys create --name shop --permissions infer,read >> keys.yaml",
      "a key that calls models; a server that follows the file takes it at once",
    ],
    [
      "tensorwire keys create --name iris-app --permissions infer --models 'iris*'",
      "one for some models only",
    ],
    [
      "tensorwire keys create --name deployer --permissions control,read --json",
      "key and entry for programs",
    ],
  ],
  settings: keysSettings,
  run: keys,
};

async function keys(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile, stdout, stderr } = program;
  const { values, sources, positionals } = resolveSettings(keysSettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  const [action, ...rest] = positionals;
  if (action !== "create" || rest.length > 0) {
    throw invalid(`got ${positionals.join(" ") || "nothing"}, expected tensorwire keys create`);
  }
  const { name, permissions, models, json } = values;
  if (name === undefined) throw invalid("--name is missing; it says who the key is for");
  if (permissions.length === 0) {
    throw invalid("--permissions is missing; name one or more of infer, read, control");
  }
  // What was to be a pattern and came out empty must not become every model.
  if (models.length === 0 && sources.models !== "default") {
    throw invalid("--models is empty; leave it out for all models");
  }
  const key = createAccessKey();
  const entry = {
    name,
    sha256: hashAccessKey(key),
    permissions,
    ...(models.length === 0 ? {} : { models }),
  };
  checkEntry(entry);
  if (json) {
    stdout.write(`${JSON.stringify({ key, entry })}\n`);
    return exitCodes.ok;
  }
  stdout.write(`${entryLine(entry)}\n`);
  stderr.write(
    `The key of "${name}", which is shown this once:\n${key}\nIts line for the file of --api-keys is on stdout.\n`,
  );
  return exitCodes.ok;
}

/** An entry of an access file, as one line of YAML. */
function entryLine(entry: Readonly<Record<string, string | readonly string[]>>): string {
  const fields = Object.entries(entry).map(([field, value]) => {
    const text =
      typeof value === "string" ? JSON.stringify(value) : `[${value.map(quoted).join(", ")}]`;
    return `${field}: ${text}`;
  });
  return `- { ${fields.join(", ")} }`;
}

/** Words stand bare; what YAML could take for something else does not. */
function quoted(text: string): string {
  return ["infer", "read", "control"].includes(text) ? text : JSON.stringify(text);
}

/** What the server would not take is not made. */
function checkEntry(entry: object): void {
  try {
    parseAccessFile(JSON.stringify([entry]), "");
  } catch (error) {
    throw invalid((error as Error).message.replaceAll(/^, line 1, (\w+)/gm, "--$1"));
  }
}

function invalid(message: string): TensorwireError {
  return new TensorwireError("SETTING_INVALID", message, {});
}
