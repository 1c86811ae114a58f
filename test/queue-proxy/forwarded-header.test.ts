import test from "ava";
import { forwardedHeader } from "../../server/queue-proxy/forwarded-header.ts";
import { rewriteHead } from "../../server/queue-proxy/rewrite-head.ts";
import { HeaderField } from "../../server/wire/http2/hpack/header-field.ts";
import { RequestHead } from "../../server/wire/http2/message-head.ts";

// As Knative's tests have them (knative.dev/serving, pkg/queue/forwarded_shim_test.go).
for (const [given, expected] of [
  [[undefined, undefined, undefined], undefined],
  [["127.0.0.1"], "for=127.0.0.1"],
  [["::1"], 'for="[::1]"'],
  [[undefined, "http"], "proto=http"],
  [[undefined, undefined, "example.com"], "host=example.com"],
  [
    ["127.0.0.1, ::1", "http", "example.com"],
    'for=127.0.0.1;host=example.com;proto=http, for="[::1]"',
  ],
] as const) {
  test(`Forwarded of ${JSON.stringify(given)}`, (t) => {
    t.is(forwardedHeader(given[0], given[1], given[2]), expected);
  });
}

test("a head is rewritten: pruned, its host restored, and with who called", (t) => {
  const fields = [
    ["k-original-host", "original.example"],
    ["knative-serving-revision", "r"],
    ["knative-serving-namespace", "n"],
    ["x-forwarded-for", "10.0.0.1"],
    ["x-forwarded-for", "10.0.0.2"],
    ["accept", "*/*"],
  ].map(([name, value]) => new HeaderField(name!, value!));
  const head = new RequestHead("GET", "https", "other.example", "/p?q", fields, -1);
  t.deepEqual(rewriteHead(head, "http", "::ffff:10.0.0.3"), [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/p?q"],
    [":authority", "original.example"],
    ["accept", "*/*"],
    ["forwarded", "for=10.0.0.1, for=10.0.0.2"],
    ["x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.3"],
  ]);
});
