import type { ModelIndexEntry, ModelMetadata } from "../../clients/typescript/src/node.ts";
import { modelsSettings } from "../config/client-settings.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import type { Command } from "./command.ts";
import { portsText } from "./ports-text.ts";
import type { Program } from "./program.ts";
import { connectServer } from "./server-client.ts";
import { textTable } from "./text-layout.ts";

/** `tensorwire models`. */
export const modelsCommand: Command = {
  name: "models",
  summary: "list the models of a running server",
  usage: "",
  description: [
    "Lists every model version of a running server: its state, its inputs and outputs, and why it is not ready.",
  ],
  examples: [
    ["tensorwire models", "those of http://127.0.0.1:8080"],
    ["tensorwire models --url http://10.0.0.7:9000", "those of another server"],
    ["tensorwire models --json", "for programs"],
  ],
  settings: modelsSettings,
  run: models,
};

interface ListedModel extends ModelIndexEntry {
  readonly inputs: ModelMetadata["inputs"];
  readonly outputs: ModelMetadata["outputs"];
}

/** How RepositoryIndex begins what it says of a model that a call loads. */
const standbyReason = "not in memory";

async function models(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile, stdout } = program;
  const { values, positionals } = resolveSettings(modelsSettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  if (positionals.length > 0) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `got argument ${positionals[0]}, expected none; the server is named by --url`,
      {},
    );
  }
  const client = connectServer(values);
  try {
    const index = await client.repositoryIndex();
    const listed = await Promise.all(
      index.map(async (entry): Promise<ListedModel> => {
        // To ask a model that was never in memory what it takes would load it.
        if (entry.state !== "READY" || entry.reason.startsWith(standbyReason))
          return { ...entry, inputs: [], outputs: [] };
        const { inputs, outputs } = await client.modelMetadata(entry.name, {
          modelVersion: entry.version,
        });
        return { ...entry, inputs, outputs };
      }),
    );
    stdout.write(values.json ? `${JSON.stringify({ models: listed })}\n` : modelsText(listed));
    return exitCodes.ok;
  } finally {
    client.close();
  }
}

function modelsText(models: readonly ListedModel[]): string {
  if (models.length === 0) return "The server has no models.\n";
  const rows = models.map(({ name, version, state, inputs, outputs }) => [
    name,
    version || "-",
    state || "-",
    portsText(inputs),
    portsText(outputs),
  ]);
  const table = textTable([["MODEL", "VERSION", "STATE", "INPUTS", "OUTPUTS"], ...rows]);
  const reasons = models
    .filter(({ reason }) => reason !== "")
    .map(
      ({ name, version, reason }) => `${name}${version === "" ? "" : ` ${version}`}: ${reason}\n`,
    );
  return `${table}\n${reasons.length > 0 ? `\n${reasons.join("")}` : ""}`;
}
