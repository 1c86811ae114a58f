import type { RequestHead } from "../wire/http2/message-head.ts";

/**
 * What a request is to the proxy.
 *
 * - `health`: asks whether the pod may get calls; answered here
 * - `reachable`: asks whether the network leads here; answered here
 * - `kubelet`: a probe of the user's container, passed on beside the queue and the counts
 * - `call`: everything else
 */
export type RequestKind = "health" | "reachable" | "kubelet" | "call";

const healthAgents = ["kube-probe/", "Knative-Activator-Probe", "Knative-Autoscaling-Probe"];

/** Tells what a request is, by its headers (knative.dev/networking, pkg/http). */
export function kindOf(head: RequestHead): RequestKind {
  let kind: RequestKind = "call";
  for (const { name, value } of head.fields) {
    switch (name) {
      case "k-network-probe":
        if (value === "probe") return "reachable";
        break;
      case "user-agent":
        if (healthAgents.some((prefix) => value.startsWith(prefix))) kind = "health";
        break;
      case "k-kubelet-probe":
        if (value !== "" && kind === "call") kind = "kubelet";
        break;
    }
  }
  return kind;
}

/** Whether the request came by way of the activator, which counts it too. */
export function isProxied(head: RequestHead): boolean {
  return head.get("k-proxy-request") === "activator";
}
