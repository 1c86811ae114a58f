import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Random } from "../soak/random.ts";
import { settledSample } from "../soak/settled-sample.ts";
import { type ServerSample, SoakedServer } from "../soak/soaked-server.ts";
import type { Check } from "../soak/verdict.ts";
import { writeFaultModels } from "./fault-models.ts";
import type { Ledger } from "./ledger.ts";

/** What a scenario is run with. */
export interface FaultRun {
  /** How often the fault happens, or how many hundreds of callers have it. */
  readonly rounds: number;
  /** Whether faults are tried that the server notices only after 20 s. */
  readonly patience: "short" | "long";
  readonly random: Random;
  readonly tell: (line: string) => void;
}

/** A fault while a load runs, and what must hold then. */
export interface Scenario {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  run(run: FaultRun): Promise<readonly Check[]>;
}

/** A server with the models of the faults; both are gone after `use`. */
export async function withFaultServer(
  flags: readonly string[],
  use: (server: SoakedServer, models: string) => Promise<readonly Check[]>,
): Promise<readonly Check[]> {
  const models = mkdtempSync(join(tmpdir(), "tensorwire-faults-"));
  try {
    writeFaultModels(models);
    const server = await SoakedServer.start({ models, flags });
    try {
      return await use(server, models);
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(models, { recursive: true, force: true });
  }
}

/** Address for clients. */
export function addressOf({ port }: SoakedServer): string {
  return `127.0.0.1:${port}`;
}

/** Holds if every call is accounted for, none ended otherwise than it may, and enough were answered. */
export function accounted(name: string, ledger: Ledger, leastAnswered: number): Check {
  const { lost, wrongCount, answered, wrongs } = ledger;
  return {
    name: `${name}: every call is accounted for`,
    holds: lost === 0 && wrongCount === 0 && answered >= leastAnswered,
    detail: [ledger.summary(), ...wrongs].join("; "),
  };
}

const mebibyte = 1024 * 1024;
/** Growth of the heap that is still called flat: code that is compiled, tables that fill. */
const flatHeapBytes = 5 * mebibyte;

/** Does the same twice, and compares what is left of the second time with what was left of the first. */
export async function leavesNothing(
  server: SoakedServer,
  act: () => Promise<void>,
): Promise<readonly Check[]> {
  await act();
  const base = await settledSample(server, 0);
  await act();
  return leftOver(base, await settledSample(server, 0));
}

function leftOver(base: ServerSample, last: ServerSample): readonly Check[] {
  const count = (name: string, before: number, now: number): Check => ({
    name,
    holds: now <= before,
    detail: `${before} before, ${now} after`,
  });
  const grown = (last.heapBytes - base.heapBytes) / mebibyte;
  return [
    count("no stream is open without a call", 0, last.openStreams),
    count("no connection is open", 0, last.openConnections),
    count("no timer is left", base.timers, last.timers),
    count("file descriptors are back", base.fileDescriptors, last.fileDescriptors),
    {
      name: "the heap is flat",
      holds: last.heapBytes - base.heapBytes <= flatHeapBytes,
      detail: `${grown.toFixed(1)} MiB more than after the first time`,
    },
  ];
}

/** Values of a metric by its labels. */
export async function metricOf(
  server: SoakedServer,
  name: string,
): Promise<ReadonlyMap<string, number>> {
  const lines = (await server.metrics()).matchAll(
    new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, "gm"),
  );
  return new Map([...lines].map(([, labels = "", value]) => [labels, Number(value)]));
}

/** Sum of a metric over its labels. */
export async function sumOf(server: SoakedServer, name: string): Promise<number> {
  return [...(await metricOf(server, name)).values()].reduce((sum, value) => sum + value, 0);
}
