import type { TLSSocket } from "node:tls";

/**
 * Names in the certificate that a TLS peer has proved to have, and that comes from the server's
 * authority: URIs, then DNS names, then the subject's common name as `CN=name`.
 *
 * @returns an empty list if the peer has shown none
 */
export function certificateNamesOf(socket: TLSSocket): readonly string[] {
  // What no authority of ours vouches for says nothing.
  if (!socket.authorized) return [];
  const { subject, subjectaltname = "" } = socket.getPeerCertificate();
  const alternatives = parseAlternativeNames(subjectaltname);
  const commonName: unknown = subject?.CN;
  const named = (wanted: string, form: RegExp): string[] =>
    // A name that has not the form of its kind could pass for one of another.
    alternatives.flatMap(({ kind, name }) => (kind === wanted && form.test(name) ? [name] : []));
  return [
    ...named("URI", /^[a-z][a-z0-9+.-]*:\/\//i),
    ...named("DNS", /^[\w*.-]+$/),
    // A subject may have several; which of them counts nobody can say.
    ...(typeof commonName === "string" ? [`CN=${commonName}`] : []),
  ];
}

/** A name of a certificate's subjectAltName. */
export interface AlternativeName {
  /** `DNS`, `URI`, `IP Address` and others. */
  readonly kind: string;
  readonly name: string;
}

/**
 * Reads subjectAltName as Node writes it: `DNS:a, URI:b`, a name that has a comma or quotes as a JSON
 * string (https://nodejs.org/api/crypto.html#x509subjectaltname; CVE-2021-44532).
 */
export function parseAlternativeNames(text: string): readonly AlternativeName[] {
  const names: AlternativeName[] = [];
  const one = /([^:",]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;
  while (one.lastIndex < text.length) {
    const found = one.exec(text);
    // What is not understood lends no name to anybody.
    if (!found) return [];
    const [, kind, written] = found as unknown as [string, string, string];
    names.push({ kind, name: written.startsWith('"') ? String(JSON.parse(written)) : written });
  }
  return names;
}
