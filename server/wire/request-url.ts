/** Makes request URLs whose origin can be parsed, whatever a peer says of itself. */
export class RequestUrls {
  #authority = "localhost";
  #scheme = "http";
  #origin = "http://localhost";

  /**
   * @param authority - the Host header or `:authority`; one that is no host is replaced by `localhost`
   * @param target - the request target; of one in absolute form only what follows the host counts
   */
  of(scheme: "http" | "https", authority: string | undefined, target: string): string {
    const host = authority ?? "localhost";
    // Peers say the same of themselves again and again: only a new authority is looked at.
    if (host !== this.#authority || scheme !== this.#scheme) {
      this.#authority = host;
      this.#scheme = scheme;
      this.#origin = originOf(scheme, host);
    }
    return this.#origin + pathOfTarget(target);
  }
}

function originOf(scheme: string, host: string): string {
  const origin = `${scheme}://${host}`;
  const plain = !/[\s/?#@\\]/.test(host) && URL.canParse(origin);
  return plain ? origin : `${scheme}://localhost`;
}

/** Path and query of a request target (RFC 9112, section 3.2). */
function pathOfTarget(target: string): string {
  if (target.startsWith("/")) return target;
  const absolute = /^https?:\/\/[^/?#]*(.*)$/i.exec(target);
  const path = absolute ? absolute[1]! : target;
  return path.startsWith("/") ? path : `/${path}`;
}
