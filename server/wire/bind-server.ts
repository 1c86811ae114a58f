import type { Server } from "node:net";
import { listenFailed } from "./listen-error.ts";
import { removeDeadSocket } from "./unix-socket-file.ts";

/**
 * Binds a server to an address and listens; afterwards its errors go to `onError`.
 *
 * @param name - of the address, for the message of the error
 * @throws TensorwireError `LISTEN_FAILED`
 */
export function bindServer(
  server: Server,
  where: { readonly host: string; readonly port: number } | { readonly path: string },
  name: string,
  onError: (error: Error) => void,
): Promise<ReturnType<Server["address"]>> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenFailed(name, error)));
    server.listen(where, () => {
      server.removeAllListeners("error");
      server.on("error", onError);
      resolve(server.address());
    });
  });
}

/**
 * Binds a server to a unix socket that only this user may connect to. The file of a server that is gone
 * is removed before.
 *
 * @throws TensorwireError `LISTEN_FAILED`
 */
export async function bindUnixServer(
  server: Server,
  path: string,
  onError: (error: Error) => void,
): Promise<void> {
  await removeDeadSocket(path);
  // Only this user may connect, from the moment the file appears: listen() makes it before it returns.
  const mask = process.umask(0o177);
  let listening: Promise<unknown>;
  try {
    listening = bindServer(server, { path }, `unix socket ${path}`, onError);
  } finally {
    process.umask(mask);
  }
  await listening;
}
