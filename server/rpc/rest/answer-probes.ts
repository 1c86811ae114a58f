import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { chunks, jsonResponse } from "./json-response.ts";
import type { RestCall } from "./rest-call.ts";

/** 200 whenever the server answers. */
export async function live(): Promise<UniversalServerResponse> {
  return probe(true, "live");
}

/** 200 once the start is over. */
export async function started({ options }: RestCall): Promise<UniversalServerResponse> {
  return probe(options.probes.isStarted(), "started");
}

/** 200 while the server takes requests. */
export async function ready({ options }: RestCall): Promise<UniversalServerResponse> {
  return probe(options.probes.isReady(), "ready");
}

/** Metrics in Prometheus' text format. */
export async function metrics({ options }: RestCall): Promise<UniversalServerResponse> {
  const { contentType, text } = await options.metrics();
  const body = new TextEncoder().encode(text);
  return {
    status: 200,
    header: new Headers({ "content-type": contentType, "content-length": String(body.byteLength) }),
    body: chunks(body),
  };
}

function probe(ok: boolean, name: string): UniversalServerResponse {
  return jsonResponse(ok ? 200 : 503, JSON.stringify({ [name]: ok }));
}
