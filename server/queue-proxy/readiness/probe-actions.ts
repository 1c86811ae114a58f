import { get as getHttp } from "node:http";
import { get as getHttps } from "node:https";
import { connect } from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as HealthStatus,
} from "../../../gen/grpc/health/v1/health_pb.ts";
import { WireChannel } from "../../wire/client/wire-channel.ts";
import type { ProbeAction } from "./read-probe.ts";

/** How the kubelet's probes call themselves; some servers look for it. */
const userAgent = "kube-probe/1.30";

/** Asks once; resolves to the reason why it is not ready, or `undefined`. Never rejects. */
export function askOnce(action: ProbeAction, timeoutMs: number): Promise<string | undefined> {
  switch (action.kind) {
    case "tcp":
      return askTcp(action.host, action.port, timeoutMs);
    case "http":
      return askHttp(action, timeoutMs);
    case "grpc":
      return askGrpc(action, timeoutMs);
  }
}

function askTcp(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (problem: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(problem);
    };
    const timer = setTimeout(() => settle(`no connection within ${timeoutMs} ms`), timeoutMs);
    socket.once("connect", () => settle(undefined));
    socket.on("error", (error) => settle(error.message));
  });
}

function askHttp(
  action: Extract<ProbeAction, { kind: "http" }>,
  timeoutMs: number,
): Promise<string | undefined> {
  const { host, port, path, secure, headers } = action;
  return new Promise((resolve) => {
    const options = {
      host,
      port,
      path: path.startsWith("/") ? path : `/${path}`,
      agent: false,
      headers: {
        "user-agent": userAgent,
        "k-kubelet-probe": "queue",
        ...Object.fromEntries(headers),
      },
      signal: AbortSignal.timeout(timeoutMs),
      // The kubelet does not look at certificates either.
      rejectUnauthorized: false,
    };
    const request = (secure ? getHttps : getHttp)(options, (response) => {
      const { statusCode = 0 } = response;
      response.destroy();
      const good = statusCode >= 200 && statusCode < 400;
      resolve(good ? undefined : `status ${statusCode}, expected 200 to 399`);
    });
    request.on("error", (error) => resolve(error.message));
  });
}

async function askGrpc(
  action: Extract<ProbeAction, { kind: "grpc" }>,
  timeoutMs: number,
): Promise<string | undefined> {
  const channel = new WireChannel({ target: { host: "127.0.0.1", port: action.port } });
  try {
    const request = create(HealthCheckRequestSchema, { service: action.service });
    const answer = await channel.callUnary(
      "/grpc.health.v1.Health/Check",
      toBinary(HealthCheckRequestSchema, request),
      { deadlineMs: timeoutMs },
    );
    if (answer.status.code !== 0 || answer.message === undefined) {
      return `status ${answer.status.code} of gRPC: ${answer.status.message}`;
    }
    const { status } = fromBinary(HealthCheckResponseSchema, answer.message);
    return status === HealthStatus.SERVING ? undefined : "the health service says NOT_SERVING";
  } catch (error) {
    return (error as Error).message;
  } finally {
    channel.destroy();
  }
}
