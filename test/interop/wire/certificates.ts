import { fileURLToPath } from "node:url";

/** Path of one of the certificates that tests have; that of the server is for localhost. */
export function certificate(name: string): string {
  return fileURLToPath(new URL(`../../clients/typescript/certificates/${name}`, import.meta.url));
}

/** Flags of a server with TLS. */
export const tlsFlags: readonly string[] = [
  ...["--tls-cert", certificate("server.pem")],
  ...["--tls-key", certificate("server.key")],
];
