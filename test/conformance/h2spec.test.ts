import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import test, { type ExecutionContext } from "ava";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findTool, runTool } from "../support/tools.ts";
import { startWire } from "../wire/start-wire.ts";

// RFC 9113 and RFC 7541 as h2spec sees them (https://github.com/summerwind/h2spec), in strict mode.

const h2spec = findTool("h2spec");
const certificates = new URL("../clients/typescript/certificates/", import.meta.url);

/** The cases that h2spec 2.2 has. */
const knownCases = 146;

/**
 * Answers when the request is whole, and not at once: many cases do something to a stream after its
 * request and take for granted that it is still open then.
 */
const handler: UniversalHandlerFn = async ({ body }) => {
  await Array.fromAsync(body as AsyncIterable<Uint8Array>);
  await new Promise((resolve) => setTimeout(resolve, 30));
  return {
    status: 200,
    header: new Headers({ "content-type": "text/plain" }),
    body: (async function* () {
      yield Buffer.from("an answer of some bytes");
    })(),
  };
};

interface Case {
  readonly name: string;
  readonly failure: string | undefined;
}

async function casesOf(
  t: ExecutionContext<unknown>,
  port: number,
  ...options: readonly string[]
): Promise<readonly Case[]> {
  const report = join(await temporaryFolder(t, {}), "report.xml");
  const { output } = await runTool(h2spec!, [
    ...["-h", "127.0.0.1", "-p", `${port}`, "--strict", "-j", report, "-o", "5"],
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

function check(t: ExecutionContext<unknown>, cases: readonly Case[]): void {
  t.deepEqual(
    cases.filter(({ failure }) => failure !== undefined),
    [],
  );
  t.is(cases.length, knownCases);
}

(h2spec ? test : test.skip)("h2spec in strict mode, cleartext", async (t) => {
  const { port } = await startWire(t, handler);
  check(t, await casesOf(t, port));
});

(h2spec ? test : test.skip)("h2spec in strict mode, TLS", async (t) => {
  const [cert, key] = await Promise.all(
    ["server.pem", "server.key"].map((name) => readFile(new URL(name, certificates))),
  );
  const { port } = await startWire(t, handler, { tls: { cert: cert!, key: key! } });
  check(t, await casesOf(t, port, "-t", "-k"));
});
