// Asks the iris model for the species of each flower of a CSV file, all at the same time.
//
//   node examples/iris-node/main.ts [flowers.csv] [--server http://127.0.0.1:8080]

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createClient, InferenceError, type TensorwireClient, tensor } from "@tensorwire/client";
import { type Flower, readFlowers } from "./read-flowers.ts";

interface Prediction {
  readonly species: string;
  /** 0 to 1. */
  readonly confidence: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { server: { type: "string", default: "http://127.0.0.1:8080" } },
});
const file = positionals[0] ?? fileURLToPath(new URL("./flowers.csv", import.meta.url));

const client = createClient(values.server, { timeoutMs: 5000 });
try {
  const flowers = await readFlowers(file);
  const started = performance.now();
  const predictions = await Promise.all(flowers.map((flower) => predict(client, flower)));
  const elapsed = performance.now() - started;
  printTable(flowers, predictions);
  console.log(
    `\n${flowers.length} flowers in ${elapsed.toFixed(0)} ms, one call each, in parallel`,
  );
} catch (error) {
  if (error instanceof InferenceError) console.error(`${error.code}: ${error.message}`);
  else console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  client.close();
}

/** Asks for the name of the most probable species, which the server knows from labels.txt. */
async function predict(client: TensorwireClient, { measures }: Flower): Promise<Prediction> {
  const result = await client.infer(
    "iris",
    { input: tensor([1, 4], measures) },
    { outputs: [{ name: "probabilities", classification: 1 }] },
  );
  // A classification reads "score:index:label".
  const [score, , label] = result.output("probabilities", "BYTES").strings()[0]!.split(":");
  return { species: label!, confidence: Number(score) };
}

function printTable(flowers: readonly Flower[], predictions: readonly Prediction[]): void {
  printRow("sepal, cm", "petal, cm", "model says", "confidence", "botanist says");
  predictions.forEach(({ species, confidence }, index) => {
    const flower = flowers[index]!;
    const [sepalLength, sepalWidth, petalLength, petalWidth] = flower.measures.map((measure) =>
      measure.toFixed(1),
    );
    const known = flower.species ?? "";
    printRow(
      `${sepalLength} x ${sepalWidth}`,
      `${petalLength} x ${petalWidth}`,
      species,
      `${(confidence * 100).toFixed(1).padStart(5)} %`,
      known === "" || known === species ? known : `${known}  <- differs`,
    );
  });
}

function printRow(...cells: readonly string[]): void {
  console.log(
    cells
      .map((cell) => cell.padEnd(13))
      .join("")
      .trimEnd(),
  );
}
