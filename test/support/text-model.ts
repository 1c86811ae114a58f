import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** Folder of the example text model; a repository with the model `opticks`. */
export const textModelFolder = fileURLToPath(new URL("../../examples/text-model", import.meta.url));

/** How the example goes on with a text if it always takes the likeliest character: made by PyTorch. */
export interface ExpectedText {
  readonly prompt: string;
  readonly text: string;
  /** Those that the last character was chosen by, token by token. */
  readonly lastLogits: readonly number[];
}

/** What PyTorch expects of the example. */
export async function expectedTexts(): Promise<readonly ExpectedText[]> {
  return JSON.parse(await readFile(`${textModelFolder}/expected.json`, "utf8"));
}
