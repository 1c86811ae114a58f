import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { startServer } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findTool, runTool } from "../support/tools.ts";

// RFC 9113 and RFC 7541 as h2spec sees them (https://github.com/summerwind/h2spec), in strict mode,
// against the real command.

const h2spec = findTool("h2spec");
const examples = fileURLToPath(new URL("../../examples/models", import.meta.url));
const certificate = (name: string): string =>
  fileURLToPath(new URL(`../clients/typescript/certificates/${name}`, import.meta.url));

interface Case {
  readonly name: string;
  readonly failure: string | undefined;
}

async function casesOf(
  t: ExecutionContext<unknown>,
  address: string,
  ...options: readonly string[]
): Promise<readonly Case[]> {
  const report = join(await temporaryFolder(t, {}), "report.xml");
  const [host, port] = address.split(":") as [string, string];
  // A path that reads the whole request: one that is answered early may be reset with NO_ERROR.
  const { output } = await runTool(h2spec!, [
    ...["-h", host, "-p", port, "-P", "/v2/models/iris/infer", "--strict", "-j", report, "-o", "5"],
    ...options,
  ]);
  const xml = await readFile(report, "utf8").catch(() => t.fail(output) as never);
  return [...xml.matchAll(/<testcase ([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(
    ([, attributes = "", content]) => ({
      name: ["package", "classname"]
        .map((key) => new RegExp(`${key}="([^"]*)"`).exec(attributes)?.[1] ?? "")
        .join(": "),
      failure: content?.includes("<failure") || content?.includes("<error") ? content : undefined,
    }),
  );
}

/** The cases that h2spec 2.2 has. */
const knownCases = 146;

(h2spec ? test : test.skip)("h2spec in strict mode, cleartext", async (t) => {
  const { address } = await startServer(t, [examples]);
  const cases = await casesOf(t, address);
  t.deepEqual(
    cases.filter(({ failure }) => failure !== undefined),
    [],
  );
  t.is(cases.length, knownCases);
});

(h2spec ? test : test.skip)("h2spec in strict mode, TLS", async (t) => {
  const tls = ["--tls-cert", certificate("server.pem"), "--tls-key", certificate("server.key")];
  const { address } = await startServer(t, [examples, ...tls]);
  const cases = await casesOf(t, address, "-t", "-k");
  t.deepEqual(
    cases.filter(({ failure }) => failure !== undefined),
    [],
  );
  t.is(cases.length, knownCases);
});
