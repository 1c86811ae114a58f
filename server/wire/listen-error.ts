import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";

/** The error for an address that cannot be listened on; the message says what to do. */
export function listenFailed(where: string, error: NodeJS.ErrnoException): TensorwireError {
  return new TensorwireError(
    "LISTEN_FAILED",
    `cannot listen on ${where}: ${remedyOf(error)}`,
    { where, systemError: error.code ?? "" },
    { cause: error },
  );
}

function remedyOf(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EADDRINUSE":
      return "it is in use; stop the program that listens there, or choose another with --port or --unix";
    case "EACCES":
    case "EPERM":
      return "this user may not; choose a port above 1023, or a path in a folder that this user may write";
    case "EADDRNOTAVAIL":
      return "this machine has no such address; 0.0.0.0 or :: listens on all that it has";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the host name has no address; use an IP address";
    case "ENOENT":
    case "ENOTDIR":
      return "its folder does not exist; create it";
    case "EINVAL":
    case "ENAMETOOLONG":
      return `${messageOf(error)}; the path of a socket has at most 107 bytes`;
    default:
      return messageOf(error);
  }
}
