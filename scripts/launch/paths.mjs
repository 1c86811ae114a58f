import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** A path in the checkout. */
export function inRoot(...parts) {
  return join(root, ...parts);
}

/** Node 24, which the package `node` brings: the machine's own may be older. */
export const node = inRoot("node_modules", "node", "bin", "node");
