import { readFile } from "node:fs/promises";

/** A flower as a botanist measured it. */
export interface Flower {
  /** Sepal length, sepal width, petal length, petal width; in cm. */
  readonly measures: readonly number[];
  /** What the botanist says it is; absent if the file has no such column. */
  readonly species?: string;
}

/**
 * Reads flowers from a CSV file: a line of headings, then four measures and perhaps a species a row.
 *
 * @throws Error that names the line
 */
export async function readFlowers(path: string): Promise<readonly Flower[]> {
  const [, ...rows] = (await readFile(path, "utf8")).trimEnd().split(/\r?\n/);
  return rows.map((row, index) => {
    const cells = row.split(",").map((cell) => cell.trim());
    const measures = cells.slice(0, 4).map((cell) => (cell === "" ? Number.NaN : Number(cell)));
    if (measures.length < 4 || measures.some(Number.isNaN)) {
      throw new Error(`${path}, line ${index + 2}: expected four numbers, got "${row}"`);
    }
    return { measures, species: cells[4] || undefined };
  });
}
