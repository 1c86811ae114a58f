import { readFileSync } from "node:fs";
import test from "ava";
import { scenarios } from "../bench/faults/scenarios/scenarios.ts";

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

/** Last cells of the tables of docs/faults.md. */
const shownBy = read("docs/faults.md")
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| when "))
  .map((line) => line.split("|").at(-2)!.trim());

test("each fault of docs/faults.md names a test that there is", (t) => {
  t.true(shownBy.length > 15);
  for (const cell of shownBy) {
    const named = [...cell.matchAll(/(test\/\S+\.test\.ts) "([^"]+)"/g)];
    const [, scenario] = /^scenario ([\w-]+)/.exec(cell) ?? [];
    t.true(named.length > 0 || scenarios.some(({ name }) => name === scenario), cell);
    for (const [, path, name] of named)
      t.true(read(path!).includes(`"${name}"`), `${path} "${name}"`);
  }
});

test("each scenario is in docs/faults.md and in its README", (t) => {
  for (const { name } of scenarios) {
    t.true(
      shownBy.some((cell) => cell.includes(`scenario ${name}`)),
      name,
    );
    t.true(read("bench/faults/README.md").includes(`| ${name} |`), name);
  }
});
