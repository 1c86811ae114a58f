import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Version in the nearest package.json of this program, in a checkout and in the package alike. */
export function packageVersion(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      if (name === "tensorwire") return version;
    } catch {
      // No package.json here; the one above is looked for.
    }
    const parent = dirname(folder);
    if (parent === folder) throw new Error("the package.json of tensorwire is missing");
    folder = parent;
  }
}
