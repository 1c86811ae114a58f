import test from "ava";
import { Registry } from "prom-client";
import { HttpMetrics } from "../../server/queue-proxy/http-metrics.ts";
import type { HeaderField } from "../../server/wire/http2/hpack/header-field.ts";
import { RequestHead } from "../../server/wire/http2/message-head.ts";

function start() {
  const registry = new Registry();
  const metrics = new HttpMetrics(registry, { address: "127.0.0.1", port: 8080 });
  /** Labels of the sets that have been counted, with how often. */
  const counted = async (name: string) => {
    const { values } = await registry.getSingleMetric(name)!.get();
    return values
      .filter((value) => (value as { metricName?: string }).metricName?.endsWith("_count"))
      .map(({ labels, value }) => [labels as Record<string, string>, value] as const);
  };
  return { metrics, counted };
}

function headOf({
  method = "GET",
  scheme = "http",
  authority,
  fields = {},
}: {
  readonly method?: string;
  readonly scheme?: string;
  readonly authority?: string;
  readonly fields?: Readonly<Record<string, string>>;
}): RequestHead {
  const list = Object.entries(fields).map(([name, value]) => ({ name, value }) as HeaderField);
  return new RequestHead(method, scheme, authority, "/", list, -1);
}

const server = "http_server_request_duration_seconds";

test("callers who make hosts up end in one set of attributes", async (t) => {
  const { metrics, counted } = start();
  for (let index = 0; index < 5000; index++) {
    metrics.ended(headOf({ authority: `host-${index}` }), 200, 1, 0, 0, 1);
  }
  const sets = await counted(server);
  t.is(sets.length, 2001);
  t.deepEqual(sets.at(-1), [{ otel_metric_overflow: "true" }, 3000]);
  // A set that was there before is still counted as itself.
  metrics.ended(headOf({ authority: "host-7" }), 200, 1, 0, 0, 1);
  const again = await counted(server);
  t.is(again.find(([labels]) => labels.server_address === "host-7")?.[1], 2);
});

test("methods that nobody knows, and hosts and tags without end, do not become labels", async (t) => {
  const { metrics, counted } = start();
  const long = "x".repeat(300);
  const fields = { "knative-serving-tag": long };
  metrics.ended(headOf({ method: "MAKEITUP", authority: long, fields }), 200, 1, 0, 0, 1);
  const [[labels]] = (await counted(server)) as [readonly [Record<string, string>, number]];
  t.is(labels.http_request_method, "_OTHER");
  t.is(labels.server_address, undefined);
  t.is(labels.kn_route_tag, "");
});

const tags: readonly (readonly [string | undefined, string | undefined, string])[] = [
  [undefined, undefined, "kn:disabled"],
  [undefined, "true", "kn:default"],
  ["blue", undefined, "blue"],
  ["blue", "false", "blue"],
  ["blue", "true", "kn:undefined"],
];
for (const [tag, isDefault, expected] of tags) {
  test(`a call with tag ${tag} and default route ${isDefault} is of ${expected}`, async (t) => {
    const { metrics, counted } = start();
    const fields = {
      ...(tag === undefined ? {} : { "knative-serving-tag": tag }),
      ...(isDefault === undefined ? {} : { "knative-serving-default-route": isDefault }),
    };
    metrics.ended(headOf({ fields }), 200, 1, 0, 0, 1);
    t.is((await counted(server))[0]![0].kn_route_tag, expected);
  });
}

test("host and port of a call are apart, and what the server did not answer is not counted of it", async (t) => {
  const { metrics, counted } = start();
  metrics.ended(headOf({ scheme: "https", authority: "[::1]:8443" }), 0, 1, 0, 0, -1);
  const [[labels]] = (await counted(server)) as [readonly [Record<string, string>, number]];
  t.deepEqual(labels, {
    http_request_method: "GET",
    kn_route_tag: "kn:disabled",
    network_protocol_name: "http",
    network_protocol_version: "2.0",
    server_address: "::1",
    server_port: "8443",
    url_scheme: "https",
  });
  t.deepEqual(
    (await counted("http_client_request_duration_seconds")).map(([, count]) => count),
    [0],
  );
});
