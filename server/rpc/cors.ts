import { cors } from "@connectrpc/connect";
import type {
  UniversalHandlerFn,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { pathOf } from "./connect-host.ts";
import { refusedRpc } from "./refused-rpc.ts";
import { errorResponse } from "./rest/rest-error.ts";

/** How long a browser may keep the answer to a preflight, in s: two hours, Chromium's limit. */
const preflightSeconds = "7200";

/** REST headers that pages may send and read beside Connect's. */
const restHeaders = ["Inference-Header-Content-Length", "Authorization"];

const exposedHeaders = [...cors.exposedHeaders, ...restHeaders].join(", ");
const allowedMethods = [...new Set(["GET", "HEAD", ...cors.allowedMethods])].join(", ");

/** Methods that change nothing. */
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Lets pages of the named origins call: answers preflights and adds the headers that browsers ask for
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). Calls of other pages than the server's own are
 * refused: without that, any page that a person visits could unload the models of a server on the
 * same machine, as browsers send simple requests anywhere and only keep the answer back.
 *
 * @param origins - `*` for any
 */
export function withCors(
  origins: readonly string[],
  handler: UniversalHandlerFn,
): UniversalHandlerFn {
  const any = origins.includes("*");
  const allowed = new Set(origins);
  return async (request) => {
    const origin = request.header.get("origin");
    if (origin === null) return handler(request);
    if (!any && !allowed.has(origin)) {
      return isForeignCall(request) ? refuse(request, origin) : handler(request);
    }
    const allowedOrigin = any ? "*" : origin;
    if (request.method === "OPTIONS" && request.header.has("access-control-request-method")) {
      return { status: 204, header: preflight(request.header, allowedOrigin) };
    }
    const response = await handler(request);
    return { ...response, header: withOrigin(response, allowedOrigin) };
  };
}

/** Whether a browser says that the page of another site or origin makes a call that may change something. */
function isForeignCall({ method, header }: UniversalServerRequest): boolean {
  const site = header.get("sec-fetch-site");
  return !safeMethods.has(method) && (site === "cross-site" || site === "same-site");
}

function refuse({ header, url }: UniversalServerRequest, origin: string): UniversalServerResponse {
  const error = new TensorwireError(
    "ORIGIN_FORBIDDEN",
    `pages of ${origin} may not call this server; allow them with --cors-origins ${origin}`,
    { origin },
  );
  return refusedRpc(header, error) ?? errorResponse(error, pathOf(url));
}

function preflight(requested: Headers, origin: string): Headers {
  // Metadata of a call are headers of any name; an origin that may call may send them.
  const asked = (requested.get("access-control-request-headers") ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name));
  return new Headers({
    "access-control-allow-origin": origin,
    "access-control-allow-methods": allowedMethods,
    "access-control-allow-headers": uniqueNames([
      ...cors.allowedHeaders,
      ...restHeaders,
      ...asked,
    ]).join(", "),
    "access-control-max-age": preflightSeconds,
    vary: "origin, access-control-request-headers",
  });
}

function withOrigin(response: UniversalServerResponse, origin: string): Headers {
  const header = new Headers(response.header);
  header.set("access-control-allow-origin", origin);
  header.set("access-control-expose-headers", exposedHeaders);
  header.append("vary", "origin");
  return header;
}

/** Names of headers, each once, whatever its case. */
function uniqueNames(names: readonly string[]): string[] {
  return [...new Map(names.map((name) => [name.toLowerCase(), name])).values()];
}
