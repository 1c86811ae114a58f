import { createServer } from "node:net";
import { forwardStream } from "../../../server/wire/client/forward-stream.ts";
import { WireChannel } from "../../../server/wire/client/wire-channel.ts";
import { Http2Connection } from "../../../server/wire/http2/http2-connection.ts";
import { listenWire } from "../../../server/wire/listen.ts";
import { defaultWireLimits } from "../../../server/wire/wire-server.ts";

// One process of forward.ts, or of a measurement by hand. Says "ready" when it listens.
//
//     taskset -c 0 node bench/micro/client/forward-role.ts server PORT
//     taskset -c 1 node bench/micro/client/forward-role.ts forwarder PORT PORT_OF_SERVER

const [role, port, target] = process.argv.slice(2);
if (role === "server") {
  // Answers with the bytes of the request.
  await listenWire({
    tcp: { host: "127.0.0.1", port: Number(port) },
    fast: {
      methods: new Map([["/bench.Service/Method", (message) => message]]),
      maxMessageBytes: 64 * 1024 * 1024,
      maxTimeoutMs: 60_000,
      toStatus: () => [["grpc-status", "13"]],
    },
    handler: async () => ({ status: 404 }),
    onError: ({ message }) => console.error(message),
  });
} else if (role === "forwarder") {
  const channel = new WireChannel({ target: { host: "127.0.0.1", port: Number(target) } });
  const server = createServer({ noDelay: true }, (socket) => {
    new Http2Connection(socket, true, defaultWireLimits, {
      onRequest: (stream, head, endStream) => forwardStream(stream, head, endStream, channel),
      onStreams() {},
      onRefusal: (refusal, message) => console.error(refusal, message),
      onClose() {},
    });
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
} else throw new Error(`got role "${role}", expected server or forwarder`);
console.log("ready");
