import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { ChannelSettings } from "./channel-options.ts";

/**
 * Opens a socket to a target. Exactly one of the callbacks is called, once, later.
 *
 * @param onOpen - the socket speaks HTTP/2 from here on; with TLS that was agreed on by ALPN
 * @param onFailure - an error whose message names the target and says what to do
 * @returns the socket; destroy it to give up
 */
export function dial(
  settings: ChannelSettings,
  onOpen: (socket: Socket) => void,
  onFailure: (error: Error) => void,
): Socket {
  const { target, targetName, tls } = settings;
  const where = "unix" in target ? { path: target.unix } : { host: target.host, port: target.port };
  const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, ...where };
  let socket: Socket;
  if (tls) {
    const { ca, cert, key } = tls;
    const servername = tls.servername ?? nameForTls(settings);
    const secure: TLSSocket = connectTls({
      ...options,
      ALPNProtocols: ["h2"],
      minVersion: "TLSv1.2",
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
    });
    secure.setNoDelay(true);
    secure.once("secureConnect", () => {
      if (secure.alpnProtocol === "h2") settle(undefined);
      else settle(noHttp2(targetName));
    });
    socket = secure;
  } else {
    socket = connectTcp(options);
    socket.once("connect", () => settle(undefined));
  }
  let failure: Error | undefined;
  const onError = (error: Error): void => {
    failure = error;
  };
  const onClose = (): void =>
    settle(cannotReach(targetName, failure ?? new Error("the peer closed the connection")));
  socket.on("error", onError);
  socket.once("close", onClose);
  return socket;

  function settle(error: Error | undefined): void {
    socket.off("close", onClose);
    if (error === undefined) {
      socket.off("error", onError);
      onOpen(socket);
      return;
    }
    socket.destroy();
    onFailure(error);
  }
}

/** The name in the certificate is the host's; SNI has no IP addresses. */
function nameForTls({ target, authority }: ChannelSettings): string | undefined {
  const host = "unix" in target ? authority.replace(/:\d+$/, "") : target.host;
  return isIP(host) === 0 ? host : undefined;
}

function noHttp2(targetName: string): Error {
  return new Error(
    `cannot use ${targetName}: its TLS does not offer HTTP/2 (ALPN "h2"); let the server offer it, or name a port that does`,
  );
}

/** The error for a target that cannot be reached, naming the system's error. */
export function cannotReach(targetName: string, error: NodeJS.ErrnoException): Error {
  // With several addresses of a name Node gathers the errors of all.
  const inner = error instanceof AggregateError ? (error.errors[0] as Error) : error;
  if (/NO_APPLICATION_PROTOCOL/.test(error.code ?? "")) return noHttp2(targetName);
  const code = error.code === undefined ? "" : `${error.code}, `;
  return new Error(
    `cannot reach ${targetName}: ${code}${(inner.message || String(inner)).trim()}; ${remedyOf(error.code)}`,
    { cause: error },
  );
}

function remedyOf(code: string | undefined): string {
  switch (code) {
    case "ECONNREFUSED":
      return "nothing listens there: start the server, or correct the address";
    case "ENOENT":
      return "there is no such socket: start the server, or correct the path";
    case "EACCES":
    case "EPERM":
      return "this user may not connect to it: run as the user of the server";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "the host name has no address: correct it, or use an IP address";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "the certificate is for another name: set tls.servername to one that it has";
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return "the certificate is of an authority that is not trusted: give it as tls.ca";
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "EPROTO":
      return "the port does not speak TLS: leave tls out, or name another port";
    case "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED":
    case "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE":
      return "the server wants a certificate of this client: give tls.cert and tls.key";
    case "ECONNRESET":
      return "the server closed the connection: see that it speaks HTTP/2, and TLS if tls is given";
    default:
      return "see that the server is up and speaks HTTP/2";
  }
}
