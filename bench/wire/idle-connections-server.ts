import { createInterface } from "node:readline";
import { listenWire } from "../../server/wire/listen.ts";

// The server of idle-connections.ts. Says "ready", and "collected" for each line that it reads.

const answer = new Uint8Array(0);
await listenWire({
  tcp: { host: "127.0.0.1", port: Number(process.argv[2]) },
  fast: {
    methods: new Map([["/bench.Service/Method", () => answer]]),
    maxMessageBytes: 1024,
    maxTimeoutMs: 1000,
    toStatus: () => [["grpc-status", "13"]],
  },
  handler: async () => ({ status: 404 }),
  onError: () => {},
});
createInterface({ input: process.stdin }).on("line", () => {
  for (let turn = 0; turn < 5; turn++) globalThis.gc?.();
  setTimeout(() => {
    globalThis.gc?.();
    console.log("collected");
  }, 500);
});
console.log("ready");
