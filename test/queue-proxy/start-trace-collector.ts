import { once } from "node:events";
import { createServer } from "node:http";
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
import { attributesOf, type KeyValue } from "./start-collector.ts";

/** A span as a collector got it, read by protobufjs; identifiers in hexadecimal, empty if there is none. */
export interface SeenSpan {
  readonly service: unknown;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: string;
  readonly status: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly durationMs: number;
}

/** A collector of OpenTelemetry that keeps the spans that it gets. */
export interface TraceCollector {
  readonly port: number;
  readonly spans: readonly SeenSpan[];
}

interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[];
  }[];
}

interface Span {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly status: { readonly code: string } | null;
}

const service = loadSync(fileURLToPath(new URL("trace-collector.proto", import.meta.url)), {
  longs: String,
  enums: String,
  arrays: true,
  defaults: true,
  oneofs: true,
})["opentelemetry.proto.collector.trace.v1.TraceService"] as ServiceDefinition;
const { requestDeserialize } = service.Export as unknown as MethodDefinition<Request, object>;

/** Starts one that speaks OTLP over HTTP. */
export async function startHttpTraceCollector(
  t: Pick<ExecutionContext, "teardown">,
): Promise<TraceCollector> {
  const spans: SeenSpan[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    if (request.url === "/v1/traces") spans.push(...seen(requestDeserialize(Buffer.concat(parts))));
    response.writeHead(request.url === "/v1/traces" ? 200 : 404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, spans };
}

/** Starts one that speaks OTLP over gRPC. */
export async function startGrpcTraceCollector(
  t: Pick<ExecutionContext, "teardown">,
): Promise<TraceCollector> {
  const spans: SeenSpan[] = [];
  const server = new Server();
  const take: UntypedHandleCall = (
    call: { readonly request: Request },
    done: (error: null, answer: object) => void,
  ) => {
    spans.push(...seen(call.request));
    done(null, {});
  };
  server.addService(service, { Export: take });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  t.teardown(() => server.forceShutdown());
  return { port, spans };
}

function seen({ resourceSpans }: Request): SeenSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map((span) => ({
        service: attributesOf(resource.attributes)["service.name"],
        traceId: span.traceId.toString("hex"),
        spanId: span.spanId.toString("hex"),
        parentSpanId: span.parentSpanId.toString("hex"),
        name: span.name,
        kind: span.kind,
        status: span.status?.code ?? "",
        attributes: attributesOf(span.attributes),
        durationMs: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
      })),
    ),
  );
}
