import { cors } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";

/** How long a browser may keep the answer to a preflight, in s: two hours, Chromium's limit. */
const preflightSeconds = "7200";

/** REST headers that pages may send and read beside Connect's. */
const restHeaders = ["Inference-Header-Content-Length", "Authorization"];

/**
 * Lets pages of other origins call: answers preflights and adds the headers that browsers ask for
 * (https://fetch.spec.whatwg.org/#http-cors-protocol). Without origins nothing is added.
 *
 * @param origins - `*` for any
 */
export function withCors(
  origins: readonly string[],
  handler: UniversalHandlerFn,
): UniversalHandlerFn {
  if (origins.length === 0) return handler;
  const any = origins.includes("*");
  const allowed = new Set(origins);
  return async (request) => {
    const origin = request.header.get("origin");
    if (origin === null || !(any || allowed.has(origin))) return handler(request);
    if (request.method === "OPTIONS" && request.header.has("access-control-request-method")) {
      return { status: 204, header: preflight(any ? "*" : origin) };
    }
    const response = await handler(request);
    return { ...response, header: withOrigin(response, any ? "*" : origin) };
  };
}

function preflight(origin: string): Headers {
  return new Headers({
    "access-control-allow-origin": origin,
    "access-control-allow-methods": ["GET", "HEAD", ...cors.allowedMethods]
      .filter(isFirst)
      .join(", "),
    "access-control-allow-headers": [...cors.allowedHeaders, ...restHeaders].join(", "),
    "access-control-max-age": preflightSeconds,
    vary: "origin",
  });
}

function withOrigin(response: UniversalServerResponse, origin: string): Headers {
  const header = new Headers(response.header);
  header.set("access-control-allow-origin", origin);
  header.set("access-control-expose-headers", [...cors.exposedHeaders, ...restHeaders].join(", "));
  header.append("vary", "origin");
  return header;
}

function isFirst(value: string, index: number, all: readonly string[]): boolean {
  return all.indexOf(value) === index;
}
