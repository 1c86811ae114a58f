import { lookup } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { triggerInvalid } from "../../errors/autoscaling-errors.ts";
import { type Address, type EndpointsSpec, isAllowedHost } from "./endpoints.ts";

/** Files that Kubernetes gives a pod to call its API server with. */
const account = "/var/run/secrets/kubernetes.io/serviceaccount";
const apiTimeoutMs = 3_000;
const maxAnswerBytes = 8 * 1024 * 1024;
const maxFound = 1000;

/** How endpoints are found. */
export interface ResolveOptions {
  /** For triggers that name none. */
  readonly defaults: EndpointsSpec;
  /** Hosts that triggers may name; see {@link isAllowedHost}. */
  readonly allowedHosts: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Finds the addresses that are there now.
 *
 * @throws TensorwireError `TRIGGER_INVALID` for a host that triggers may not name
 * @throws Error if names or the API server cannot be asked
 */
export async function resolveEndpoints(
  spec: EndpointsSpec,
  options: ResolveOptions,
): Promise<readonly Address[]> {
  switch (spec.kind) {
    case "default":
      if (options.defaults.kind !== "default") return await find(options.defaults, options.env);
      throw triggerInvalid("endpoints", "nothing", "where to ask, or a scaler with --endpoints");
    case "list":
      for (const { host } of spec.addresses) checkHost(host, options);
      break;
    case "dns":
      checkHost(spec.address.host, options);
      break;
    case "service":
      checkHost(`${spec.service}.${spec.namespace}.svc`, options);
  }
  return await find(spec, options.env);
}

function checkHost(host: string, { allowedHosts }: ResolveOptions): void {
  if (isAllowedHost(host, allowedHosts)) return;
  throw triggerInvalid(
    "endpoints",
    host,
    `a host of --allow-hosts: ${allowedHosts.join(", ") || "none"}`,
  );
}

async function find(
  spec: Exclude<EndpointsSpec, { kind: "default" }>,
  env: ResolveOptions["env"],
): Promise<readonly Address[]> {
  switch (spec.kind) {
    case "list":
      return spec.addresses;
    case "dns": {
      const { host, port } = spec.address;
      const found = await lookup(host, { all: true });
      return found.slice(0, maxFound).map(({ address, family }) => ({
        host: family === 6 ? `[${address}]` : address,
        port,
      }));
    }
    case "service":
      return await findOfService(spec, env);
  }
}

interface EndpointSlices {
  readonly items?: readonly {
    readonly addressType?: string;
    readonly endpoints?: readonly {
      readonly addresses?: readonly string[];
      readonly conditions?: { readonly ready?: boolean };
    }[];
  }[];
}

/** Kubernetes API, discovery.k8s.io/v1: an endpoint without the condition `ready` counts as ready. */
async function findOfService(
  { namespace, service, port }: Extract<EndpointsSpec, { kind: "service" }>,
  env: ResolveOptions["env"],
): Promise<readonly Address[]> {
  const label = encodeURIComponent(`kubernetes.io/service-name=${service}`);
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${label}`;
  const { items = [] } = JSON.parse(await askApiServer(path, env)) as EndpointSlices;
  return items
    .flatMap(({ addressType, endpoints = [] }) =>
      endpoints
        .filter(({ conditions }) => conditions?.ready !== false)
        .flatMap(({ addresses = [] }) =>
          addresses.map((host) => ({ host: addressType === "IPv6" ? `[${host}]` : host, port })),
        ),
    )
    .slice(0, maxFound);
}

async function askApiServer(path: string, env: ResolveOptions["env"]): Promise<string> {
  const host = env.KUBERNETES_SERVICE_HOST;
  const port = env.KUBERNETES_SERVICE_PORT_HTTPS ?? env.KUBERNETES_SERVICE_PORT;
  if (!host || !port) {
    throw new Error("service:// needs to run in a pod: KUBERNETES_SERVICE_HOST is not set");
  }
  const folder = account;
  // Both are swapped while the pod runs.
  const [ca, token] = await Promise.all([
    readFile(`${folder}/ca.crt`),
    readFile(`${folder}/token`, "utf8"),
  ]);
  return await new Promise((resolve, reject) => {
    const call = request(
      {
        host: host.replace(/^\[|\]$/g, ""),
        port,
        path,
        ca,
        headers: { authorization: `Bearer ${token.trim()}`, accept: "application/json" },
        signal: AbortSignal.timeout(apiTimeoutMs),
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on("data", (chunk: Buffer) => {
          bytes += chunk.byteLength;
          if (bytes > maxAnswerBytes) call.destroy(new Error("the API server sends too much"));
          else chunks.push(chunk);
        });
        answer.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          if (answer.statusCode === 200) resolve(text);
          else
            reject(new Error(`the API server answers ${answer.statusCode}: ${text.slice(0, 200)}`));
        });
        answer.on("error", reject);
      },
    );
    call.on("error", reject);
    call.end();
  });
}
