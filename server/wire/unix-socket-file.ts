import { access, lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { listenFailed } from "./listen-error.ts";

/**
 * Makes way for a unix socket: removes the file that a server left which is gone. The socket of a
 * live one stays.
 *
 * @throws TensorwireError `LISTEN_FAILED` if a server answers there, the file is no socket, or there is
 *   no such folder
 */
export async function removeDeadSocket(path: string): Promise<void> {
  const where = `unix socket ${path}`;
  let isSocket: boolean;
  try {
    isSocket = (await lstat(path)).isSocket();
  } catch {
    // No file is there, which is as it should be. Node calls a folder that is not there EACCES.
    await access(dirname(path)).catch((error) => {
      throw listenFailed(where, error);
    });
    return;
  }
  if (!isSocket) {
    throw new TensorwireError(
      "LISTEN_FAILED",
      `cannot listen on ${where}: a file that is no socket is there; remove it or choose another path`,
      { where },
    );
  }
  const failure = await probe(path);
  // Whoever else refuses us may be alive.
  if (failure?.code !== "ECONNREFUSED") {
    throw listenFailed(
      where,
      failure ?? Object.assign(new Error("a server answers"), { code: "EADDRINUSE" }),
    );
  }
  try {
    await unlink(path);
  } catch (error) {
    throw listenFailed(where, error as NodeJS.ErrnoException);
  }
}

/** Connects; gives the failure, or `undefined` if somebody answers. */
function probe(path: string): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once("error", resolve);
  });
}
