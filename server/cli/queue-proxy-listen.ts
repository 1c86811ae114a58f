import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { Registry } from "prom-client";
import { QueueService } from "../../gen/tensorwire/queue/v1/queue_pb.ts";
import type { KnativeEnvironment } from "../config/knative-environment.ts";
import { messageOf } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";
import { registerQueueService } from "../queue-proxy/admin-service.ts";
import type { QueueProxy } from "../queue-proxy/queue-proxy.ts";
import { createConnectHost, pathOf } from "../rpc/connect-host.ts";
import { registerReflectionServices } from "../rpc/reflection-service.ts";
import { listenWire } from "../wire/listen.ts";
import type { WireServer, WireServerOptions } from "../wire/wire-server.ts";
import type { QueueProxyValues } from "./queue-proxy.ts";
import { registerWireMetrics } from "./serve-listen.ts";

/** What the servers of a proxy answer from. */
export interface QueueProxyParts {
  readonly proxy: QueueProxy;
  readonly registry: Registry;
  readonly log: Log;
}

/** All servers of a proxy. */
export interface QueueProxyServers {
  /** Bound ports by what they are for. */
  readonly ports: Readonly<Record<string, number>>;
  drain(): Promise<void>;
  destroy(): Promise<void>;
}

/** Time between two looks at the certificate, in ms. */
const certificatePeriodMs = 60_000;

/**
 * Listens on all ports of Knative's queue-proxy.
 *
 * @throws TensorwireError `LISTEN_FAILED`
 */
export async function listenQueueProxy(
  values: QueueProxyValues,
  environment: KnativeEnvironment,
  { proxy, registry, log }: QueueProxyParts,
): Promise<QueueProxyServers> {
  const host = values["listen-host"] ?? (environment.podIp.includes(":") ? "::" : "0.0.0.0");
  const wires: WireServer[] = [];
  const ports: Record<string, number> = {};
  const onError: WireServerOptions["onError"] = (error, where) =>
    log.debug({ where, why: error.message }, "a connection failed");
  const listen = async (name: string, port: number, more: Partial<WireServerOptions>) => {
    const wire = await listenWire({ tcp: { host, port }, onError, ...more });
    wires.push(wire);
    ports[name] = wire.tcpAddress!.port;
    return wire;
  };
  const calls: Partial<WireServerOptions> = {
    streams: proxy.handler,
    limits: {
      maxConnections: values["max-connections"],
      maxConcurrentStreams: values["max-concurrent-streams"],
      maxHeaderListBytes: values["max-header-size"],
      stallTimeoutMs: values["stall-timeout"],
    },
  };
  let stopRenewing = (): void => {};
  try {
    const callWires = [await listen("main", environment.servingPort, calls)];
    const tls = await readCertificate(values["tls-folder"]);
    if (tls) {
      const wire = await listen("tls", environment.servingTlsPort, { ...calls, tls });
      callWires.push(wire);
      stopRenewing = renewCertificate(values["tls-folder"], wire, tls, log);
    }
    registerWireMetrics(registry, callWires);
    await listen("admin", values["admin-port"], {
      handler: adminHandler(proxy, values["allow-remote-control"] ? "remote" : "local", log),
    });
    await listen("statistics", values["statistics-port"], {
      handler: at("/metrics", () => [proxy.statistics(), "application/protobuf"]),
    });
    const { requestMetrics } = environment.observability;
    if (values.metrics || requestMetrics.protocol === "prometheus") {
      await listen("metrics", values["metrics-port"], {
        handler: at("/metrics", async () => [
          Buffer.from(await registry.metrics(), "utf8"),
          registry.contentType,
        ]),
      });
    }
  } catch (error) {
    await Promise.all(wires.map((wire) => wire.destroy()));
    throw error;
  }
  return {
    ports,
    async drain() {
      await Promise.all(wires.map((wire) => wire.drain()));
    },
    async destroy() {
      stopRenewing();
      await Promise.all(wires.map((wire) => wire.destroy()));
    },
  };
}

/** Answers one path, on a port of its own. */
function at(
  path: string,
  content: () =>
    | readonly [bytes: Uint8Array, type: string]
    | Promise<readonly [bytes: Uint8Array, type: string]>,
): UniversalHandlerFn {
  return async (request) => {
    if (pathOf(request.url) !== path) return { status: 404 };
    const [bytes, type] = await content();
    return bytesAnswer(bytes, type);
  };
}

function bytesAnswer(bytes: Uint8Array, type: string): UniversalServerResponse {
  return {
    status: 200,
    header: new Headers({ "content-type": type, "content-length": `${bytes.byteLength}` }),
    body: once(bytes),
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Time within which SIGTERM comes, if the whole pod ends and not the user's container alone, in ms. */
const signalDelayMs = 1_000;

const maxAdminMessageBytes = 1024 * 1024;
const maxAdminTimeoutMs = 60_000;

function adminHandler(
  proxy: QueueProxy,
  control: "local" | "remote",
  log: Log,
): UniversalHandlerFn {
  return createConnectHost({
    routes(router) {
      registerQueueService(router, proxy, control);
      registerReflectionServices(router, [QueueService]);
    },
    maxMessageBytes: maxAdminMessageBytes,
    maxTimeoutMs: maxAdminTimeoutMs,
    interceptors: [],
    onInternalError: (error, where) =>
      log.error({ err: error.cause, where }, "a call of the admin service failed"),
    async fallback(request) {
      if (pathOf(request.url) !== "/wait-for-drain") return { status: 404 };
      const timer = setTimeout(() => {
        if (!proxy.signalled) proxy.drainer.reset();
      }, signalDelayMs);
      await proxy.drainer.drain();
      clearTimeout(timer);
      return { status: 200 };
    },
  });
}

async function readCertificate(
  folder: string,
): Promise<{ readonly cert: Buffer; readonly key: Buffer } | undefined> {
  try {
    const [cert, key] = await Promise.all([
      readFile(join(folder, "tls.crt")),
      readFile(join(folder, "tls.key")),
    ]);
    return { cert, key };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Looks for a new certificate again and again; the result stops it. */
function renewCertificate(
  folder: string,
  wire: WireServer,
  first: { readonly cert: Buffer; readonly key: Buffer },
  log: Log,
): () => void {
  let current = first;
  const timer = setInterval(async () => {
    try {
      const next = await readCertificate(folder);
      if (!next || (next.cert.equals(current.cert) && next.key.equals(current.key))) return;
      wire.renewCertificate(next.cert, next.key);
      current = next;
      log.info({}, "took the new certificate");
    } catch (error) {
      log.warn({ why: messageOf(error) }, "the certificate cannot be renewed; the old one stays");
    }
  }, certificatePeriodMs);
  timer.unref();
  return () => clearInterval(timer);
}
