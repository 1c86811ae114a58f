import type { RequestHead } from "../http2/message-head.ts";
import type { FastUnaryHandler, FastUnaryMethods } from "./fast-unary.ts";
import { parseGrpcTimeout } from "./grpc-timeout.ts";

/** How a request is answered from bytes to bytes. */
export interface FastRoute {
  readonly path: string;
  readonly handler: FastUnaryHandler;
  /** Time to the deadline, in ms; -1 without one. */
  readonly timeoutMs: number;
}

/**
 * Finds the fast method of a request. What is unusual about a call - another protocol than gRPC, a page
 * of another site, compressed messages, a malformed deadline - is left to the universal handler, which
 * answers the same paths.
 */
export function fastRouteOf(head: RequestHead, options: FastUnaryMethods): FastRoute | undefined {
  const handler = options.methods.get(head.path);
  if (!handler || head.method !== "POST") return undefined;
  const type = head.get("content-type");
  if (type !== "application/grpc" && type !== "application/grpc+proto") return undefined;
  if ((head.get("grpc-encoding") ?? "identity") !== "identity") return undefined;
  if (head.get("origin") !== undefined) return undefined;
  const timeout = head.get("grpc-timeout");
  if (timeout === undefined) return { path: head.path, handler, timeoutMs: -1 };
  const timeoutMs = parseGrpcTimeout(timeout);
  if (timeoutMs === undefined) return undefined;
  return { path: head.path, handler, timeoutMs: Math.min(timeoutMs, options.maxTimeoutMs) };
}
