import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { readFlowers } from "../../../examples/iris-node/read-flowers.ts";

async function fileOf(t: ExecutionContext<unknown>, text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const path = join(folder, "flowers.csv");
  await writeFile(path, text);
  return path;
}

test("the flowers of the example are read", async (t) => {
  const path = new URL("../../../examples/iris-node/flowers.csv", import.meta.url);
  const flowers = await readFlowers(fileURLToPath(path));
  t.is(flowers.length, 14);
  t.deepEqual(flowers[0], { measures: [5.1, 3.5, 1.4, 0.2], species: "setosa" });
});

test("the column of the species may be absent, and lines may end as in Windows", async (t) => {
  const path = await fileOf(t, "a,b,c,d\r\n1, 2,3,4\r\n");
  t.deepEqual(await readFlowers(path), [{ measures: [1, 2, 3, 4], species: undefined }]);
});

test("a row that is no flower is named by its line", async (t) => {
  for (const row of ["1,2,3", "1,2,x,4", "1,,3,4", ""]) {
    const path = await fileOf(t, `a,b,c,d\n1,2,3,4\n${row}\n1,2,3,4\n`);
    await t.throwsAsync(readFlowers(path), { message: /line 3: expected four numbers, got / });
  }
});
