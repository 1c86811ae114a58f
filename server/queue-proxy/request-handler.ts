import type { CallerStream, StreamHandler } from "../wire/caller-stream.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import type { CallPlace, CallRules } from "./call-rules.ts";
import { kindOf, type RequestKind } from "./knative-headers.ts";
import { emptyAnswer, plainAnswer, textAnswer } from "./local-answers.ts";
import { reply, takeRequest } from "./local-reply.ts";
import { ProbeCall } from "./probe-call.ts";
import { ProxiedCall } from "./proxied-call.ts";
import type { ProxyHost } from "./proxy-host.ts";

/** Asks whether the user's container takes calls; those who ask at the same time get one answer. */
export type Readiness = () => Promise<boolean>;

/** What a head was found to be, kept beside it. */
interface KnownRoute {
  readonly kind: RequestKind;
  readonly rules: CallRules;
  readonly place: CallPlace;
}

/** Handles what comes to the main ports: probes are answered, calls go their way. */
export function createRequestHandler(host: ProxyHost, isReady: Readiness): StreamHandler {
  const { drainer } = host;
  return (stream, head, endStream, peer) => {
    // The decoder gives the same head for the same bytes: what it is need not be found out again.
    let route = head.route as KnownRoute | undefined;
    if (route === undefined || route.rules !== host.rules) {
      const { rules } = host;
      route = { kind: kindOf(head), rules, place: rules(head) };
      head.route = route;
    }
    switch (route.kind) {
      case "call":
        drainer.onCall();
        new ProxiedCall(stream, head, endStream, host, route.place, peer.address).start();
        return;
      case "kubelet":
        drainer.onCall();
        new ProbeCall(stream, head, endStream, host, peer.address).begin();
        return;
      case "reachable":
        takeRequest(stream);
        answerReachable(stream, head, drainer.draining);
        return;
      case "health":
        takeRequest(stream);
        answerHealth(stream, head);
        return;
    }
  };

  function answerHealth(stream: CallerStream, head: RequestHead): void {
    if (drainer.draining) {
      reply(stream, textAnswer(503, "shutting down", head));
      return;
    }
    const asked = head.get("k-network-probe") ?? "";
    if (asked !== "queue") {
      reply(stream, textAnswer(400, `unexpected probe header value: ${asked}`, head));
      return;
    }
    void isReady().then((ready) =>
      reply(stream, ready ? plainAnswer(200, "queue", head) : emptyAnswer(503)),
    );
  }
}

/** Tells that the network leads here, and by what configuration of it. */
function answerReachable(stream: CallerStream, head: RequestHead, draining: boolean): void {
  if (draining) {
    reply(stream, textAnswer(503, "shutting down", head));
    return;
  }
  const hash = head.get("k-network-hash") ?? "";
  if (hash === "") {
    reply(
      stream,
      textAnswer(400, 'a probe request must contain a non-empty "K-Network-Hash" header', head),
    );
    return;
  }
  reply(stream, emptyAnswer(200, [["k-network-hash", hash]]));
}
