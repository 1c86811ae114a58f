import { knativeEnvironmentInvalid } from "../../errors/proxy-errors.ts";

/** How the user's container is asked whether it is ready. */
export type ProbeAction =
  | {
      readonly kind: "http";
      readonly host: string;
      readonly port: number;
      readonly path: string;
      readonly secure: boolean;
      readonly headers: readonly (readonly [string, string])[];
    }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "grpc"; readonly port: number; readonly service: string };

/** One probe, and how often it must succeed. */
export interface ReadinessProbe {
  readonly action: ProbeAction;
  /** Successes in a row. */
  readonly successThreshold: number;
  /** Time for one attempt, in ms. */
  readonly timeoutMs: number;
  /** Tried again and again for a while, as Knative does where no period is given. */
  readonly aggressive: boolean;
}

/**
 * Reads SERVING_READINESS_PROBE: a Probe of Kubernetes as JSON, or a list of them for several containers.
 *
 * @param text - empty: there is none, and the container counts as ready
 * @param defaultPort - of a probe that names none
 * @throws TensorwireError `SETTING_INVALID` for what is no probe, and for `exec`, which nobody but the
 * kubelet can do
 */
export function readProbes(text: string, defaultPort: number): readonly ReadinessProbe[] {
  if (text.trim() === "") return [];
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalid(`is no JSON: ${(error as Error).message}`);
  }
  const probes = Array.isArray(json) ? json : [json];
  return probes.filter((probe) => probe !== null).map((probe) => readProbe(probe, defaultPort));
}

function readProbe(json: unknown, defaultPort: number): ReadinessProbe {
  if (typeof json !== "object" || json === null) throw invalid("is no object");
  const probe = json as Record<string, unknown>;
  const seconds = numberOf(probe.timeoutSeconds, 1);
  const period = numberOf(probe.periodSeconds, 0);
  return {
    action: readAction(probe, defaultPort),
    successThreshold: Math.max(1, numberOf(probe.successThreshold, 1)),
    timeoutMs: Math.max(1, seconds) * 1000,
    aggressive: period === 0,
  };
}

function readAction(probe: Record<string, unknown>, defaultPort: number): ProbeAction {
  const { httpGet, tcpSocket, grpc, exec } = probe as Record<
    string,
    Record<string, unknown> | undefined
  >;
  if (exec) {
    throw invalid(
      "has exec: a command can only be run in its own container; use httpGet, tcpSocket or grpc",
    );
  }
  if (httpGet) {
    const headers = Array.isArray(httpGet.httpHeaders) ? httpGet.httpHeaders : [];
    return {
      kind: "http",
      host: textOf(httpGet.host, "127.0.0.1"),
      port: portOf(httpGet.port, defaultPort),
      path: textOf(httpGet.path, "/"),
      secure: textOf(httpGet.scheme, "HTTP").toUpperCase() === "HTTPS",
      headers: headers.map((header: { name?: unknown; value?: unknown }) => [
        textOf(header.name, ""),
        textOf(header.value, ""),
      ]),
    };
  }
  if (tcpSocket) {
    return {
      kind: "tcp",
      host: textOf(tcpSocket.host, "127.0.0.1"),
      port: portOf(tcpSocket.port, defaultPort),
    };
  }
  if (grpc) {
    return {
      kind: "grpc",
      port: portOf(grpc.port, defaultPort),
      service: textOf(grpc.service, ""),
    };
  }
  throw invalid("has neither httpGet, tcpSocket nor grpc");
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === "string" && value !== "" ? value : otherwise;
}

function numberOf(value: unknown, otherwise: number): number {
  return typeof value === "number" && value >= 0 ? value : otherwise;
}

function portOf(value: unknown, otherwise: number): number {
  const port = Number(value);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : otherwise;
}

function invalid(problem: string): Error {
  return knativeEnvironmentInvalid([`SERVING_READINESS_PROBE ${problem}`]);
}
