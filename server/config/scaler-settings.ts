import { serveSettings } from "./serve-settings.ts";
import type { Settings } from "./setting.ts";

/** Settings of `tensorwire scaler`. */
export const scalerSettings = {
  host: { ...serveSettings.host },
  port: {
    kind: "integer",
    group: "Network",
    default: 9095,
    min: 0,
    max: 65_535,
    help: "Port for KEDA (gRPC), /metrics and probes; 0 takes a free one",
  },
  "tls-cert": { ...serveSettings["tls-cert"] },
  "tls-key": { ...serveSettings["tls-key"] },
  "tls-client-ca": { ...serveSettings["tls-client-ca"] },
  endpoints: {
    kind: "text",
    group: "Sources",
    placeholder: "WHERE",
    help: "Where triggers that do not say it are measured: host:port parted by commas, dns://host:port, or service://namespace/name:port",
  },
  "allow-hosts": {
    kind: "list",
    group: "Sources",
    placeholder: "HOST",
    help: "Hosts that triggers may name, such as *.shop.svc; without it *.svc and *.svc.cluster.local",
  },
  "prometheus-url": {
    kind: "text",
    group: "Sources",
    placeholder: "URL",
    help: "Prometheus server that evaluates the expressions of triggers",
  },
  interval: {
    kind: "duration",
    group: "Sources",
    default: "2s",
    help: "Time between two looks at a source, 500ms at least",
  },
  "drain-timeout": { ...serveSettings["drain-timeout"] },
  "log-level": { ...serveSettings["log-level"] },
  "log-format": { ...serveSettings["log-format"] },
} as const satisfies Settings;
