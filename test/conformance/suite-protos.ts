import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { DescMessage, DescService } from "@bufbuild/protobuf";
import { findModule } from "../support/go-module.ts";
import { findTool, runTool } from "../support/tools.ts";

/** Where the code of the suite's protos lies; it is not ours, and not committed. */
const folder = fileURLToPath(new URL("../../.cache/conformance/", import.meta.url));

/** The suite whose protos the code is made from, with its version. */
export const suiteModule = "connectrpc.com/conformance@v1.0.7";

/** What a conformance server and client need of the suite's protos. */
export interface SuiteProtos {
  readonly service: DescService;
  readonly messages: Readonly<Record<string, DescMessage>>;
}

/**
 * Makes code of the suite's protos, unless it is there.
 *
 * @returns why that is not possible; `undefined` if it is done
 */
export async function generateSuiteProtos(): Promise<string | undefined> {
  if (existsSync(`${folder}gen/connectrpc/conformance/v1/service_pb.ts`)) return undefined;
  const module = await findModule(suiteModule);
  if (!module) return `${suiteModule} is not in Go's module cache`;
  // Several tests may want them at once: each makes its own, and the first to be done stays.
  const made = `${folder}gen-${process.pid}`;
  const template = JSON.stringify({
    version: "v2",
    plugins: [
      {
        local: "protoc-gen-es",
        out: made,
        opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"],
      },
    ],
  });
  const buf = findTool("buf");
  if (!buf) return "buf is not on the PATH";
  const { code, output } = await runTool(buf, [
    "generate",
    `${module}/proto`,
    "--template",
    template,
  ]);
  if (code !== 0) return output;
  await rename(made, `${folder}gen`).catch(() => rm(made, { recursive: true }));
  return undefined;
}

/** Loads the code that {@link generateSuiteProtos} made. */
export async function loadSuiteProtos(): Promise<SuiteProtos> {
  const load = (file: string): Promise<Record<string, unknown>> =>
    import(pathToFileURL(`${folder}gen/connectrpc/conformance/v1/${file}_pb.ts`).href);
  const [service, server, client] = await Promise.all([
    load("service"),
    load("server_compat"),
    load("client_compat"),
  ]);
  const exported: Record<string, unknown> = { ...service, ...server, ...client };
  return {
    service: exported.ConformanceService as SuiteProtos["service"],
    messages: Object.fromEntries(
      Object.entries(exported).filter(([name]) => name.endsWith("Schema")),
    ) as SuiteProtos["messages"],
  };
}
