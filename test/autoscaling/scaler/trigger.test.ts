import test from "ava";
import { isAllowedHost, parseEndpoints } from "../../../server/autoscaling/scaler/endpoints.ts";
import { parseTrigger } from "../../../server/autoscaling/scaler/trigger.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";

test("a trigger for requests at once needs a target only", (t) => {
  t.deepEqual(parseTrigger({ scalerAddress: "x:9095", metric: "concurrency", target: "7.5" }), {
    metricName: "tensorwire-concurrency",
    target: 7.5,
    activation: 0,
    windowMs: 30_000,
    source: { kind: "stat", value: "concurrency", endpoints: { kind: "default" } },
  });
});

test("a metric of one's own, by labels, as rate or quantile", (t) => {
  const of = (metadata: Record<string, string>) =>
    parseTrigger({
      metric: "metric",
      target: "1",
      endpoints: "a.shop.svc:9091,[::1]:80",
      ...metadata,
    }).source;
  const endpoints = parseEndpoints("a.shop.svc:9091,[::1]:80");
  t.deepEqual(of({ name: 'nv_inference_count{model="iris", version="1"}', as: "rate" }), {
    kind: "metric",
    name: "nv_inference_count",
    labels: { model: "iris", version: "1" },
    view: { kind: "rate" },
    across: "sum",
    endpoints,
  });
  t.deepEqual(of({ name: "seconds", as: "p99.9", across: "max" }), {
    kind: "metric",
    name: "seconds",
    labels: {},
    view: { kind: "quantile", share: 0.999 },
    across: "max",
    endpoints,
  });
});

for (const [metadata, says] of [
  [{}, /metadata target.*got "nothing"/],
  [{ target: "1" }, /metadata metric.*got "", expected one of concurrency, request-rate/],
  [{ target: "0", metric: "concurrency" }, /got "0", expected a number above 0/],
  [{ target: " ", metric: "concurrency" }, /got " ", expected a number above 0/],
  [{ target: "1", metric: "toString" }, /metadata metric/],
  [{ target: "1", metric: "concurrency", window: "0" }, /seconds from 1 to 600/],
  [{ target: "1", metric: "concurrency", treshold: "3" }, /metadata treshold/],
  [{ target: "1", metric: "concurrency", activationTarget: "-1" }, /activationTarget/],
  [{ target: "1", metric: "prometheus" }, /metadata query/],
  [{ target: "1", metric: "metric", name: "a b" }, /metadata name/],
  [{ target: "1", metric: "metric", name: 'a{b=~"c"}' }, /metadata name/],
  [{ target: "1", metric: "metric", name: "a", as: "p100" }, /metadata as/],
  [{ target: "1", metric: "metric", name: "a", across: "min" }, /metadata across/],
  [{ target: "1", metric: "concurrency", endpoints: "nowhere" }, /host:port parted by commas/],
  [{ target: "1", metric: "concurrency", endpoints: "a:0" }, /metadata endpoints/],
  [{ target: "1", metric: "concurrency", endpoints: "http://a:80" }, /metadata endpoints/],
  [{ target: "1", metric: "concurrency", endpoints: "service://a/b/c:80" }, /metadata endpoints/],
  [{ target: "1", metric: "prometheus", query: "x".repeat(5000) }, /5000 characters/],
] as const) {
  test(`${JSON.stringify(metadata).slice(0, 80)} is refused with what is expected`, (t) => {
    t.throws(() => parseTrigger(metadata), { instanceOf: TensorwireError, message: says });
  });
}

test("hosts that triggers may name: as written, or below a suffix", (t) => {
  const patterns = ["*.svc", "prometheus.example"];
  for (const host of ["a.b.svc", "A.B.SVC", "prometheus.example"])
    t.true(isAllowedHost(host, patterns));
  for (const host of ["svc", "asvc", "a.svc.evil", "x.prometheus.example", "169.254.169.254"]) {
    t.false(isAllowedHost(host, patterns));
  }
  t.true(isAllowedHost("10.0.0.1", ["*"]));
  t.false(isAllowedHost("a", []));
});
