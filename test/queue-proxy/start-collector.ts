import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedHandleCall,
} from "@grpc/grpc-js";
import { loadSync, type MethodDefinition } from "@grpc/proto-loader";
import type { ExecutionContext } from "ava";

/** What a collector got at once, read by protobufjs. */
export interface SeenExport {
  /** `grpc`, or path and headers of HTTP. */
  readonly by: "grpc" | { readonly path: string; readonly headers: IncomingHttpHeaders };
  readonly resource: Readonly<Record<string, unknown>>;
  readonly metrics: ReadonlyMap<string, SeenMetric>;
}

/** A metric; the form is `gauge`, `sum` or `histogram`. */
export interface SeenMetric {
  readonly unit: string;
  readonly form: string;
  readonly temporality: string | undefined;
  readonly points: readonly SeenPoint[];
}

/** A point; `counts` and `bounds` are those of histograms. */
export interface SeenPoint {
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly sum: number | undefined;
  readonly counts: readonly number[];
  readonly bounds: readonly number[];
  readonly seconds: number;
}

/** A collector of OpenTelemetry that keeps what it gets. */
export interface Collector {
  readonly port: number;
  readonly exports: readonly SeenExport[];
}

/** An attribute as protobufjs reads it. */
export interface KeyValue {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>> & { readonly value: string };
}

interface Point {
  readonly attributes: readonly KeyValue[];
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
  readonly asDouble?: number;
  readonly asInt?: string;
  readonly count?: string;
  readonly sum?: number;
  readonly bucketCounts?: readonly string[];
  readonly explicitBounds?: readonly number[];
}

interface Data {
  readonly dataPoints: readonly Point[];
  readonly aggregationTemporality?: string;
}

interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly data: "gauge" | "sum" | "histogram";
  readonly gauge?: Data;
  readonly sum?: Data;
  readonly histogram?: Data;
}

interface Request {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[];
  }[];
}

const service = loadSync(fileURLToPath(new URL("collector.proto", import.meta.url)), {
  longs: String,
  enums: String,
  arrays: true,
  oneofs: true,
})["opentelemetry.proto.collector.metrics.v1.MetricsService"] as ServiceDefinition;
const { requestDeserialize } = service.Export as unknown as MethodDefinition<Request, object>;

/** Starts one that speaks OTLP over HTTP; `status` is what it answers. */
export async function startHttpCollector(
  t: Pick<ExecutionContext, "teardown">,
  status: () => number = () => 200,
): Promise<Collector> {
  const exports: SeenExport[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const code = status();
    if (code === 200) {
      const by = { path: request.url ?? "", headers: request.headers };
      exports.push(seen(by, requestDeserialize(Buffer.concat(parts))));
    }
    response.writeHead(code, { "content-type": "application/x-protobuf" }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, exports };
}

/** Starts one that speaks OTLP over gRPC. */
export async function startGrpcCollector(
  t: Pick<ExecutionContext, "teardown">,
): Promise<Collector> {
  const exports: SeenExport[] = [];
  const server = new Server();
  const take: UntypedHandleCall = (
    call: { readonly request: Request },
    done: (error: null, answer: object) => void,
  ) => {
    exports.push(seen("grpc", call.request));
    done(null, {});
  };
  server.addService(service, { Export: take });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  t.teardown(() => server.forceShutdown());
  return { port, exports };
}

function seen(by: SeenExport["by"], { resourceMetrics }: Request): SeenExport {
  const [first] = resourceMetrics;
  const metrics = first!.scopeMetrics.flatMap((scope) => scope.metrics);
  return {
    by,
    resource: attributesOf(first!.resource.attributes),
    metrics: new Map(metrics.map((metric) => [metric.name, metricOf(metric)])),
  };
}

function metricOf(metric: Metric): SeenMetric {
  const { dataPoints, aggregationTemporality } = metric[metric.data]!;
  return {
    unit: metric.unit,
    form: metric.data,
    temporality: aggregationTemporality,
    points: dataPoints.map((point) => ({
      attributes: attributesOf(point.attributes),
      value: Number(point.count ?? point.asDouble ?? point.asInt),
      sum: point.sum,
      counts: (point.bucketCounts ?? []).map(Number),
      bounds: point.explicitBounds ?? [],
      seconds: Number(BigInt(point.timeUnixNano) - BigInt(point.startTimeUnixNano)) / 1e9,
    })),
  };
}

/** Values of attributes; whole numbers as numbers. */
export function attributesOf(attributes: readonly KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => {
      const content = value[value.value];
      return [key, value.value === "intValue" ? Number(content) : content];
    }),
  );
}
