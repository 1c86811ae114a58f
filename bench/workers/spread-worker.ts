import { createServer, Server, type Socket } from "node:net";
import { listenWire } from "../../server/wire/listen.ts";
import type { FromWorker, ToWorker } from "./ways.ts";

// One worker of spread.ts: answers an empty message, and counts connections and calls.

let connections = 0;
let calls = 0;
const answer = new Uint8Array(0);
const wire = await listenWire({
  fast: {
    methods: new Map([
      [
        "/bench.Service/Method",
        () => {
          calls++;
          return answer;
        },
      ],
    ]),
    maxMessageBytes: 1024,
    maxTimeoutMs: 1000,
    toStatus: () => [["grpc-status", "13"]],
  },
  handler: async () => ({ status: 404 }),
  onError: () => {},
});

function take(socket: Socket): void {
  connections++;
  socket.once("close", () => tell({ kind: "closed" }));
  wire.accept(socket, "tcp");
}

function tell(message: FromWorker): void {
  process.send?.(message);
}

process.on("message", (message: ToWorker, handle: unknown) => {
  switch (message.kind) {
    case "listen":
      createServer(take).listen(
        { host: "127.0.0.1", port: message.port, reusePort: true, backlog: 1024 },
        () => tell({ kind: "ready" }),
      );
      return;
    case "listener":
      if (handle instanceof Server) handle.on("connection", take);
      tell({ kind: "ready" });
      return;
    case "connection":
      // The client may have gone on the way.
      if (handle) take(handle as Socket);
      else tell({ kind: "closed" });
      return;
    case "count":
      tell({ kind: "counts", connections, calls });
      connections = 0;
      calls = 0;
      return;
  }
});
process.on("disconnect", () => process.exit(0));
tell({ kind: "up" });
