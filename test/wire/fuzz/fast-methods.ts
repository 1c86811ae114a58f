import type { FastUnaryHandler, FastUnaryMethods } from "../../../server/wire/grpc/fast-unary.ts";

/** Paths of {@link fastMethods}. */
export const fastPaths = [
  "/fuzz.Service/Echo",
  "/fuzz.Service/Later",
  "/fuzz.Service/Fails",
] as const;

/** Methods answered from bytes to bytes: at once, after a turn, with an error. */
export const fastMethods: FastUnaryMethods = {
  methods: new Map<string, FastUnaryHandler>([
    [fastPaths[0], (message) => message],
    [
      fastPaths[1],
      (message) => new Promise((resolve) => setImmediate(() => resolve([message, message]))),
    ],
    [fastPaths[2], () => Promise.reject(new Error("it fails"))],
  ]),
  maxMessageBytes: 200_000,
  maxTimeoutMs: 10_000,
  toStatus: (thrown) => [
    ["grpc-status", "2"],
    ["grpc-message", encodeURIComponent(String(thrown))],
  ],
};
