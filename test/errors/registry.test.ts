import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Code } from "@connectrpc/connect";
import test from "ava";
import { fromPortable, toPortable } from "../../server/errors/portable-error.ts";
import { type Reason, registry } from "../../server/errors/registry.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** `InvalidArgument` as gRPC writes it. */
function codeName(code: Code): string {
  const name = Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
  return name === "CANCELED" ? "CANCELLED" : name;
}

test("docs/errors.md lists the reasons of the registry, in its order, with code and status", (t) => {
  const rows = readFileSync(join(root, "docs/errors.md"), "utf8").matchAll(
    /^\| ([A-Z_]+) \| ([A-Z_]+) \| (\d+) \| (.+) \|$/gm,
  );
  const documented = [...rows].map(([, reason, code, http]) => `${reason} ${code} ${http}`);
  const declared = Object.entries(registry).map(
    ([reason, { code, http }]) => `${reason} ${codeName(code)} ${http}`,
  );
  t.deepEqual(documented, declared);
});

test("every reason is used", (t) => {
  const sources = readdirSync(join(root, "server"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith("registry.ts"))
    .map((name) => readFileSync(join(root, "server", name), "utf8"))
    .join("\n");
  t.deepEqual(
    Object.keys(registry).filter((reason) => !sources.includes(`"${reason}"`)),
    [],
  );
});

test("an error is the same after a trip between threads", (t) => {
  for (const reason of Object.keys(registry) as Reason[]) {
    const error = new TensorwireError(
      reason,
      "what happened",
      { givenBytes: "3" },
      { cause: new Error("why") },
    );
    const copy = fromPortable(structuredClone(toPortable(error)));
    t.is(copy.reason, error.reason);
    t.is(copy.message, error.message);
    t.deepEqual(copy.metadata, error.metadata);
    t.is((copy.cause as Error).message, "why");
    t.is(copy.code, registry[reason].code);
  }
});
