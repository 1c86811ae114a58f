import { stripVTControlCharacters } from "node:util";

/** Lays rows out in columns two blanks apart; the last column is not padded. */
export function textTable(rows: readonly (readonly string[])[], indent = ""): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
    });
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, column) => cell + " ".repeat(widths[column]! - widthOf(cell)));
      return (indent + cells.join("  ")).trimEnd();
    })
    .join("\n");
}

/** Breaks a text into lines of at most `width` characters, at blanks. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}

/** Lays out terms with texts beside them, which are wrapped to the width. */
export function definitionList(
  rows: readonly (readonly [term: string, text: string])[],
  width: number,
): string[] {
  const column = Math.max(...rows.map(([term]) => widthOf(term))) + 4;
  return rows.flatMap(([term, text]) =>
    wrapText(text, width - column).map((line, index) =>
      index === 0
        ? `  ${term}${" ".repeat(column - 2 - widthOf(term))}${line}`
        : " ".repeat(column) + line,
    ),
  );
}

function widthOf(cell: string): number {
  return stripVTControlCharacters(cell).length;
}
