import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { bindServer, bindUnixServer } from "./bind-server.ts";

/** Addresses on which connections are accepted for others to serve. */
export interface SocketSourceOptions {
  /** Port 0 takes a free one. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly unix: string | undefined;
  /** Takes each connection, paused: nothing was read of it. */
  readonly onSocket: (socket: Socket, listener: "tcp" | "unix") => void;
  readonly onError: (error: Error) => void;
}

/** Servers that accept connections and serve none. */
export interface SocketSource {
  /** The bound addresses, in the order of the options. */
  readonly tcpAddresses: readonly { readonly host: string; readonly port: number }[];
  /** Stops listening. */
  close(): void;
}

/**
 * Listens, and gives the connections away unread, for `WireServer.accept` of another process.
 *
 * @throws TensorwireError `LISTEN_FAILED` naming the address and what to do
 */
export async function acceptSockets(options: SocketSourceOptions): Promise<SocketSource> {
  const { tcp, unix, onSocket, onError } = options;
  const servers: Server[] = [];
  const accept = (listener: "tcp" | "unix"): Server => {
    const server = createServer({ pauseOnConnect: true }, (socket) => onSocket(socket, listener));
    servers.push(server);
    return server;
  };
  const close = (): void => {
    for (const server of servers) server.close();
  };
  try {
    const tcpAddresses: { host: string; port: number }[] = [];
    for (const { host, port } of tcp) {
      const bound = await bindServer(accept("tcp"), { host, port }, `${host}:${port}`, onError);
      const { address, port: boundPort } = bound as AddressInfo;
      tcpAddresses.push({ host: address, port: boundPort });
    }
    if (unix !== undefined) await bindUnixServer(accept("unix"), unix, onError);
    return { tcpAddresses, close };
  } catch (error) {
    close();
    throw error;
  }
}
