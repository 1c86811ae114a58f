import { setTimeout as wait } from "node:timers/promises";
import type { SoakOptions } from "./options.ts";
import { settledSample } from "./settled-sample.ts";
import { SoakLoad } from "./soak-load.ts";
import { type ServerSample, SoakedServer } from "./soaked-server.ts";
import { type Check, judge, type TimedSample } from "./verdict.ts";

/** Says what happens while it happens. */
export type Tell = (line: string) => void;

/** A soak from start to end; the server is stopped in every case. */
export async function soak(options: SoakOptions, tell: Tell): Promise<readonly Check[]> {
  const server = await SoakedServer.start();
  try {
    return await soakServer(server, options, tell);
  } finally {
    await server.stop();
  }
}

async function soakServer(
  server: SoakedServer,
  options: SoakOptions,
  tell: Tell,
): Promise<readonly Check[]> {
  const { connections, callsEach, seed } = options;
  tell(`seed ${seed}; ${connections} connections with ${callsEach} calls each`);
  const warmUp = new SoakLoad(server.port, connections, callsEach, seed);
  warmUp.run();
  await wait(options.warmUpSeconds * 1000);
  await warmUp.end();
  const base = await settledSample(server, 0);
  tell(`warm after ${warmUp.calls} calls; ${base.fileDescriptors} file descriptors`);
  tell(columns);
  const load = new SoakLoad(server.port, connections, callsEach, seed + 1);
  const samples: TimedSample[] = [];
  const begun = performance.now();
  const end = begun + options.minutes * 60_000;
  while (performance.now() < end && !server.hasEnded) {
    load.run();
    await wait(Math.min(options.everySeconds * 1000, Math.max(0, end - performance.now())));
    const busy = await server.sample();
    await load.pause();
    const quiet = await settledSample(server, connections);
    const sample = { ...quiet, seconds: (performance.now() - begun) / 1000 };
    samples.push(sample);
    tell(row(sample, busy, load));
  }
  await load.end();
  const last = await settledSample(server, 0);
  const exitCode = await server.stop();
  for (const [name, count] of [...load.counts].sort()) tell(`${String(count).padStart(9)} ${name}`);
  tell(
    `${load.connectionsOpened} connections; ${load.lostCalls} calls were lost with one that vanished; refusals ${JSON.stringify(last.refusals)}`,
  );
  for (const wrong of [...warmUp.wrongs, ...load.wrongs]) tell(`wrong: ${wrong}`);
  return judge({
    base,
    samples,
    last,
    wrongs: load.wrongs,
    wrongCount: warmUp.wrongCount + load.wrongCount,
    complaints: server.complaints,
    exitCode,
  });
}

const columns =
  "  time  calls     streams  busy  timers  fds  heap MiB  external  resident  loop p99 ms    max";

function row(quiet: TimedSample, busy: ServerSample, load: SoakLoad): string {
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
  const cells: readonly (readonly [string, number])[] = [
    [`${Math.round(quiet.seconds)} s`, 6],
    [`${load.calls}`, 7],
    [`${quiet.openStreams}`, 12],
    [`${busy.openStreams}`, 6],
    [`${quiet.timers}`, 8],
    [`${quiet.fileDescriptors}`, 5],
    [mebibytes(quiet.heapBytes), 10],
    [mebibytes(quiet.externalBytes), 10],
    [mebibytes(quiet.residentBytes), 10],
    [busy.loopDelayP99Ms.toFixed(1), 13],
    [busy.loopDelayMaxMs.toFixed(1), 7],
  ];
  return cells.map(([text, width]) => text.padStart(width)).join("");
}
