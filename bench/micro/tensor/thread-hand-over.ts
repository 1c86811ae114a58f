// How contents should cross to a worker thread and back: cloned with the message, copied once into
// memory that is handed over, or copied into shared memory that the worker keeps a view of.
//
//     node bench/micro/tensor/thread-hand-over.ts
import { isMainThread, parentPort, Worker } from "node:worker_threads";

const sizes = [64, 1024, 4096, 16 * 1024, 64 * 1024, 600_000, 16 * 1024 * 1024];
const ways = ["clone", "hand over", "shared memory"] as const;
type Way = (typeof ways)[number];

interface Message {
  readonly way: Way;
  readonly bytes: Uint8Array;
}

if (isMainThread) await measure();
else answer();

/** The worker touches each page of what came and answers as much in the same way. */
function answer(): void {
  parentPort?.on("message", ({ way, bytes }: Message) => {
    let sum = 0;
    for (let index = 0; index < bytes.length; index += 4096) sum += bytes[index]!;
    // Outputs belong to the worker, so they go back without a copy unless they are cloned.
    const output = way === "shared memory" ? bytes : new Uint8Array(bytes.length).fill(sum);
    const transfer = way === "hand over" ? [output.buffer as ArrayBuffer] : [];
    parentPort?.postMessage({ way, bytes: output }, transfer);
  });
}

async function measure(): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  console.log(["bytes", ...ways.map((way) => `${way}, us`)].join("\t"));
  for (const size of sizes) {
    const rows: number[] = [];
    for (const way of ways) rows.push(await roundTrip(worker, way, size));
    console.log([size, ...rows.map((us) => us.toFixed(1))].join("\t"));
  }
  await worker.terminate();
}

/** Median time of a message there and back, in us. The request's contents are part of a larger buffer. */
async function roundTrip(worker: Worker, way: Way, size: number): Promise<number> {
  const request = new Uint8Array(size + 64).subarray(64);
  const shared = new Uint8Array(new SharedArrayBuffer(size));
  const rounds = size > 1_000_000 ? 40 : 2000;
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begun = performance.now();
    const answered = new Promise((resolve) => worker.once("message", resolve));
    if (way === "shared memory") {
      shared.set(request);
      worker.postMessage({ way, bytes: shared });
    } else {
      // A view would be cloned with all of its buffer, so it is copied in both other ways.
      const copy = new Uint8Array(request);
      worker.postMessage({ way, bytes: copy }, way === "hand over" ? [copy.buffer] : []);
    }
    await answered;
    times.push((performance.now() - begun) * 1000);
  }
  times.sort((a, b) => a - b);
  return times[times.length >> 1]!;
}
