import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import type { LoadResult } from "../callers/caller.ts";
import { quantile } from "../statistics.ts";

// Sends the same request again and again to the peer "bare", and prints what h2load would say as JSON.
//
//     node bench/bare/bare-load.ts --port N --header FILE --contents FILE --answer-bytes N --in-flight N
//       --seconds N [--rate N]

const { values } = parseArgs({
  options: {
    port: { type: "string" },
    header: { type: "string" },
    contents: { type: "string" },
    "answer-bytes": { type: "string" },
    "in-flight": { type: "string" },
    seconds: { type: "string" },
    rate: { type: "string" },
  },
});
const contents = readFileSync(values.contents!);
const answerBytes = Number(values["answer-bytes"]);
const inFlight = Number(values["in-flight"]);
const limitMs = Number(values.seconds) * 1000;
const rate = values.rate === undefined ? Number.POSITIVE_INFINITY : Number(values.rate);

const socket = connect({ port: Number(values.port), host: "127.0.0.1", noDelay: true });
/** Starts of the calls under way; answers come in their order. */
const starts = new Float64Array(inFlight);
let firstStart = 0;
let underWay = 0;
let sent = 0;
let bodyBytes = 0;
let partial = 0;
const times: number[] = [];
let begun = 0;

function send(): void {
  socket.cork();
  while (underWay < inFlight && sent < ((performance.now() - begun) / 1000) * rate) {
    starts[(firstStart + underWay) % inFlight] = performance.now();
    underWay++;
    sent++;
    socket.write(contents);
  }
  socket.uncork();
}

function take(bytes: number): void {
  bodyBytes += bytes;
  partial += bytes;
  const now = performance.now();
  while (partial >= answerBytes) {
    partial -= answerBytes;
    times.push((now - starts[firstStart]!) * 1000);
    firstStart = (firstStart + 1) % inFlight;
    underWay--;
  }
  if (now - begun >= limitMs) end(now);
  else send();
}

function end(now: number): void {
  socket.destroy();
  clearInterval(ticks);
  if (times.length === 0) throw new Error("no call ended within the time");
  const sorted = Float64Array.from(times).sort();
  const result: LoadResult = {
    calls: times.length,
    callsPerSecond: (times.length / (now - begun)) * 1000,
    meanMicros: sorted.reduce((sum, time) => sum + time, 0) / sorted.length,
    p50Micros: quantile(sorted, 0.5),
    p99Micros: quantile(sorted, 0.99),
    bodyBytes,
  };
  process.stdout.write(JSON.stringify(result));
}

/** Sends what is due when there are no answers to wait for. */
const ticks = setInterval(() => {
  const now = performance.now();
  if (begun > 0 && now - begun >= limitMs) end(now);
  else if (begun > 0 && rate < Number.POSITIVE_INFINITY) send();
}, 1);

socket.once("connect", () => {
  socket.write(readFileSync(values.header!));
  begun = performance.now();
  send();
});
socket.on("data", (chunk) => take(chunk.byteLength));
socket.once("close", () => {
  if (performance.now() - begun < limitMs) throw new Error("the server closed the connection");
});
