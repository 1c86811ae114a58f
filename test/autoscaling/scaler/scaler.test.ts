import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import {
  type Client,
  credentials,
  loadPackageDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import test, { type ExecutionContext } from "ava";
import { startCommand } from "../../support/command.ts";
import { until } from "../../support/until.ts";

const protoFolder = fileURLToPath(new URL("../../../proto", import.meta.url));

/** An endpoint whose answers a test decides on. */
async function endpoint(
  t: ExecutionContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A Stat of two doubles by hand: fields 2 and 4, wire type 1, little-endian. */
function stat(concurrency: number, rate: number): Buffer {
  const bytes = Buffer.alloc(18);
  bytes[0] = (2 << 3) | 1;
  bytes.writeDoubleLE(concurrency, 1);
  bytes[9] = (4 << 3) | 1;
  bytes.writeDoubleLE(rate, 10);
  return bytes;
}

function statEndpoint(t: ExecutionContext, load: { concurrency: number; rate: number }) {
  return endpoint(t, (request, response) => {
    t.is(request.headers.accept, "application/protobuf");
    response.setHeader("content-type", "application/protobuf");
    response.end(stat(load.concurrency, load.rate));
  });
}

interface ScalerClient {
  call(
    method: string,
    metadata: Record<string, string>,
    name?: string,
  ): Promise<Record<string, unknown>>;
  stream(metadata: Record<string, string>): AsyncIterable<{ result: boolean }> & { cancel(): void };
}

/** Starts the command, and a client that reads the .proto file by itself, as KEDA has it. */
async function start(
  t: ExecutionContext,
  ...args: string[]
): Promise<{ client: ScalerClient; url: string }> {
  const command = startCommand(t, ["scaler", "--port", "0", "--interval", "500ms", ...args]);
  await until(() => /listens on \S+:\d+/.test(command.stdout()), command.stderr);
  const address = /listens on (\S+)/.exec(command.stdout())![1]!;
  const definition = loadPackageDefinition(
    loadSync("externalscaler/externalscaler.proto", {
      includeDirs: [protoFolder],
      longs: Number,
      defaults: true,
    }),
  ) as unknown as { externalscaler: { ExternalScaler: typeof Client } };
  const stub = new definition.externalscaler.ExternalScaler(address, credentials.createInsecure());
  t.teardown(() => stub.close());
  // biome-ignore lint/suspicious/noExplicitAny: grpc-js adds the methods of the .proto file.
  const methods = stub as any;
  const ref = (scalerMetadata: Record<string, string>) => ({
    name: "iris",
    namespace: "shop",
    scalerMetadata,
  });
  return {
    url: `http://${address}`,
    client: {
      call: (method, metadata, metricName) =>
        new Promise((resolve, reject) => {
          const request =
            metricName === undefined
              ? ref(metadata)
              : { scaledObjectRef: ref(metadata), metricName };
          methods[method](request, (error: Error | null, answer: Record<string, unknown>) =>
            error ? reject(error) : resolve(answer),
          );
        }),
      stream: (metadata) => methods.StreamIsActive(ref(metadata)),
    },
  };
}

test("requests at once of two queue-proxies: the sum, the target, active above the activation", async (t) => {
  const one = { concurrency: 3.5, rate: 70 };
  const first = await statEndpoint(t, one);
  const second = await statEndpoint(t, { concurrency: 1.5, rate: 30 });
  const { client, url } = await start(t, "--endpoints", `${first},${second}`);
  const metadata = { metric: "concurrency", target: "2.5", activationTarget: "4", window: "1" };
  t.deepEqual(await client.call("GetMetricSpec", metadata), {
    metricSpecs: [{ metricName: "tensorwire-concurrency", targetSize: 3, targetSizeFloat: 2.5 }],
  });
  const value = async () => {
    const { metricValues } = await client.call("GetMetrics", metadata, "tensorwire-concurrency");
    return (metricValues as { metricValueFloat: number }[])[0]!.metricValueFloat;
  };
  t.is(await value(), 5);
  t.deepEqual(await client.call("IsActive", metadata), { result: true });
  one.concurrency = 0.5;
  await until(async () => (await value()) === 2);
  t.deepEqual(await client.call("IsActive", metadata), { result: false });
  const rate = { ...metadata, metric: "request-rate" };
  const { metricValues } = await client.call("GetMetrics", rate, "tensorwire-request-rate");
  t.like((metricValues as object[])[0], { metricValueFloat: 100, metricValue: 100 });
  const metrics = await (await fetch(`${url}/metrics`)).text();
  t.regex(metrics, /tensorwire_scaler_value\{[^}]*metric="tensorwire-concurrency"[^}]*\} 2\n/);
  t.regex(metrics, /tensorwire_scaler_triggers 2\n/);
});

test("StreamIsActive says at once what is, and then each change", async (t) => {
  const load = { concurrency: 0, rate: 0 };
  const { client } = await start(t, "--endpoints", await statEndpoint(t, load));
  const stream = client.stream({ metric: "concurrency", target: "1", window: "1" });
  const seen: boolean[] = [];
  try {
    for await (const { result } of stream) {
      seen.push(result);
      if (seen.length === 3) break;
      load.concurrency = result ? 0 : 2;
    }
  } finally {
    stream.cancel();
  }
  t.deepEqual(seen, [false, true, false]);
});

test("a counter's rate and a histogram's quantile, from Prometheus' text", async (t) => {
  let looks = 0;
  const text = await endpoint(t, (_, response) => {
    looks++;
    // 40 calls a look: 30 within 0.1 s, 10 within 1 s.
    response.end(
      `# TYPE calls_total counter\ncalls_total{model="iris"} ${40 * looks}\ncalls_total{model="other"} 1\n` +
        `s_bucket{le="0.1"} ${30 * looks}\ns_bucket{le="1"} ${40 * looks}\ns_bucket{le="+Inf"} ${40 * looks}\n`,
    );
  });
  const { client } = await start(t, "--allow-hosts", "127.0.0.1");
  const read = async (metadata: Record<string, string>) => {
    const { metricValues } = await client.call("GetMetrics", metadata, "tensorwire-metric");
    return (metricValues as { metricValueFloat: number }[])[0]!.metricValueFloat;
  };
  const common = { metric: "metric", target: "1", endpoints: text, window: "5" };
  const quantile = { ...common, name: "s", as: "p75" };
  t.is(await read(quantile), 0);
  await until(async () => Math.abs((await read(quantile)) - 0.1) < 1e-9);
  const rate = { ...common, name: 'calls_total{model="iris"}', as: "rate" };
  // Two triggers look at it by turns, so one look of this one may count 40 or 80 calls in half a second.
  await until(async () => (await read(rate)) >= 40);
});

test("an expression that a Prometheus server evaluates: the sum of its vector", async (t) => {
  const prometheus = await endpoint(t, (request, response) => {
    const { pathname, searchParams } = new URL(request.url!, "http://x");
    t.is(pathname, "/api/v1/query");
    const vector = [
      { metric: { pod: "a" }, value: [1, "1.5"] },
      { metric: { pod: "b" }, value: [1, "2"] },
    ];
    const data =
      searchParams.get("query") === "sum(x)"
        ? { resultType: "scalar", result: [1, "7"] }
        : { resultType: "vector", result: vector };
    response.end(JSON.stringify({ status: "success", data }));
  });
  const { client } = await start(t, "--prometheus-url", `http://${prometheus}`);
  for (const [query, expected] of [
    ["sum(x)", 7],
    ["x", 3.5],
  ] as const) {
    const { metricValues } = await client.call(
      "GetMetrics",
      { metric: "prometheus", target: "1", query },
      "tensorwire-prometheus",
    );
    t.like((metricValues as object[])[0], { metricValueFloat: expected });
  }
});

test("what cannot be done is told by name, and hosts that are not allowed are not asked", async (t) => {
  let asked = 0;
  const secret = await endpoint(t, (_, response) => {
    asked++;
    response.end();
  });
  const { client } = await start(t, "--endpoints", "127.0.0.1:9");
  const codeOf = async (metadata: Record<string, string>, method = "IsActive", name?: string) => {
    try {
      await client.call(method, metadata, name);
      return "OK";
    } catch (error) {
      const { code, details } = error as ServiceError;
      return `${status[code]} ${details}`;
    }
  };
  const concurrency = { metric: "concurrency", target: "1" };
  t.regex(
    await codeOf({ metric: "speed", target: "1" }),
    /^INVALID_ARGUMENT metadata metric.*"speed"/,
  );
  t.regex(await codeOf({ ...concurrency, endpoints: secret }), /^INVALID_ARGUMENT.*--allow-hosts/);
  t.is(asked, 0);
  t.regex(await codeOf(concurrency), /^UNAVAILABLE metric tensorwire-concurrency cannot be had/);
  t.regex(await codeOf(concurrency, "GetMetrics", "other"), /^NOT_FOUND got metric "other"/);
  t.regex(
    await codeOf({ metric: "prometheus", target: "1", query: "x" }),
    /UNAVAILABLE.*--prometheus-url/,
  );
  t.regex(
    await codeOf({ ...concurrency, endpoints: "service://shop/iris:9090" }),
    /UNAVAILABLE.*KUBERNETES_SERVICE_HOST/,
  );
});
