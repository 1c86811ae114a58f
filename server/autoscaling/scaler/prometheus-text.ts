/** A sample of a metric. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const line =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const label = /\s*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"\s*(?:,|$)/y;

/**
 * Reads Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats).
 *
 * @param wanted - whether samples of a name are of interest; the others are not taken apart
 * @throws Error with the line that cannot be read
 */
export function parsePrometheusText(text: string, wanted: (name: string) => boolean): Sample[] {
  const samples: Sample[] = [];
  for (const row of text.split("\n")) {
    if (row === "" || row.startsWith("#")) continue;
    const end = row.search(/[{\s]/);
    if (end > 0 && !wanted(row.slice(0, end))) continue;
    const found = line.exec(row);
    if (!found) {
      if (row.trim() === "") continue;
      throw new Error(`the line ${JSON.stringify(row.slice(0, 200))} is no sample`);
    }
    const [, name = "", labels = "", value = ""] = found;
    samples.push({ name, labels: parseLabels(labels, row), value: parseNumber(value, row) });
  }
  return samples;
}

function parseLabels(text: string, row: string): Record<string, string> {
  const labels: Record<string, string> = {};
  label.lastIndex = 0;
  while (label.lastIndex < text.length) {
    const found = label.exec(text);
    if (!found) throw new Error(`the labels of ${JSON.stringify(row.slice(0, 200))} are none`);
    const [, name = "", value = ""] = found;
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) =>
      escaped === "n" ? "\n" : escaped,
    );
  }
  return labels;
}

function parseNumber(text: string, row: string): number {
  if (/^[+-]?Inf$/i.test(text)) {
    return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const value = Number(text);
  if (Number.isNaN(value) && !/^nan$/i.test(text)) {
    throw new Error(`the value of ${JSON.stringify(row.slice(0, 200))} is no number`);
  }
  return value;
}
