import { readFile } from "node:fs/promises";
import { Counter, Gauge, type Registry } from "prom-client";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Log } from "../observability/log.ts";
import { listenWire } from "../wire/listen.ts";
import type { MemoryBudget } from "../wire/request-memory.ts";
import { wireRefusals } from "../wire/wire-refusals.ts";
import type { WireServer, WireServerOptions } from "../wire/wire-server.ts";
import type { ServeHandlers } from "./serve-handler.ts";
import type { ServeValues } from "./serve-values.ts";

/**
 * Listens where the settings say: on the port and the unix socket, and on the second port if there is
 * one. The first server of the result is that of `--port`.
 *
 * @throws TensorwireError `LISTEN_FAILED`, or `SETTING_INVALID` if a certificate cannot be read
 */
export async function listenAll(
  values: ServeValues,
  handlers: ServeHandlers,
  log: Log,
): Promise<readonly [WireServer, ...WireServer[]]> {
  const { host, port, "grpc-port": grpcPort, unix } = values;
  const common = await commonOptions(values, handlers, log);
  const first = await listenWire({
    ...common,
    tcp: { host, port },
    ...(unix === undefined ? {} : { unix: { path: unix } }),
  });
  if (grpcPort === 0 || grpcPort === port) return [first];
  try {
    return [first, await listenWire({ ...common, tcp: { host, port: grpcPort } })];
  } catch (error) {
    await first.destroy();
    throw error;
  }
}

async function commonOptions(
  values: ServeValues,
  handlers: ServeHandlers,
  log: Log,
): Promise<WireServerOptions> {
  return {
    ...(await readTls(values)),
    limits: {
      maxConnections: values["max-connections"],
      maxConcurrentStreams: values["max-concurrent-streams"],
      handshakeTimeoutMs: values["handshake-timeout"],
      idleTimeoutMs: values["idle-timeout"],
      stallTimeoutMs: values["stall-timeout"],
      keepAliveIntervalMs: values["keepalive-interval"],
      keepAliveTimeoutMs: values["keepalive-timeout"],
      maxConnectionBytes: values["max-connection-memory"],
    },
    ...handlers,
    onError: (error, where) => log.debug({ where, why: error.message }, "a connection failed"),
  };
}

/** Adds what the servers count to the metrics. */
export function registerWireMetrics(registry: Registry, wires: readonly WireServer[]): void {
  const gauge = (name: string, help: string, key: "openConnections" | "openStreams"): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(wires.reduce((sum, { stats }) => sum + stats[key], 0));
      },
    });
  };
  gauge("tensorwire_open_connections", "Connections that are open", "openConnections");
  gauge("tensorwire_open_requests", "HTTP requests and streams that are open", "openStreams");
  new Counter({
    name: "tensorwire_wire_refusals_total",
    help: "What peers did beyond the limits or against the protocol, by reason (docs/wire.md)",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const reason of wireRefusals) {
        this.inc(
          { reason },
          wires.reduce((sum, { stats }) => sum + stats.refusals[reason], 0),
        );
      }
    },
  });
}

/** Adds what the messages of requests take to the metrics. */
export function registerMemoryMetrics(registry: Registry, memory: MemoryBudget): void {
  new Gauge({
    name: "tensorwire_request_memory_bytes",
    help: "Request messages under way",
    registers: [registry],
    collect() {
      this.set(memory.heldBytes);
    },
  });
  new Gauge({
    name: "tensorwire_request_memory_limit_bytes",
    help: "Request messages that may be under way (--max-request-memory)",
    registers: [registry],
    collect() {
      this.set(memory.limitBytes);
    },
  });
}

/** URLs under which this machine reaches the addresses that are listened on. */
export function urlsOf(
  values: ServeValues,
  addresses: readonly { readonly host: string; readonly port: number }[],
): readonly string[] {
  const scheme = values["tls-cert"] === undefined ? "http" : "https";
  return addresses.map(({ host, port }) => `${scheme}://${callableHost(host)}:${port}`);
}

/** A server for connections that another process accepts: those of both ports and the unix socket. */
export async function listenNowhere(
  values: ServeValues,
  handlers: ServeHandlers,
  log: Log,
): Promise<WireServer> {
  return await listenWire(await commonOptions(values, handlers, log));
}

/** An address that means all of them cannot be called; this machine's own can. */
function callableHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}

/** Reads certificate, key and authority, if there are some. */
export async function readTls(
  values: Pick<ServeValues, "tls-cert" | "tls-key" | "tls-client-ca">,
): Promise<Pick<WireServerOptions, "tls">> {
  const { "tls-cert": cert, "tls-key": key, "tls-client-ca": clientCa } = values;
  if (cert === undefined || key === undefined) return {};
  return {
    tls: {
      cert: await readPem("tls-cert", cert),
      key: await readPem("tls-key", key),
      ...(clientCa === undefined ? {} : { clientCa: await readPem("tls-client-ca", clientCa) }),
    },
  };
}

async function readPem(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `setting ${setting}: ${messageOf(error)}`,
      {},
      { cause: error },
    );
  }
}
