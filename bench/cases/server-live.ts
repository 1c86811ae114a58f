import { fromBinary } from "@bufbuild/protobuf";
import { ServerLiveResponseSchema } from "../../gen/inference/grpc_service_pb.ts";
import type { BenchCase } from "./bench-case.ts";

/** The smallest call: the cost of HTTP/2 and gRPC alone. */
export const serverLive: BenchCase = {
  name: "server-live",
  about: "ServerLive, empty request",
  maxInFlight: 1024,
  makeCall: () => ({
    path: "/inference.GRPCInferenceService/ServerLive",
    request: new Uint8Array(0),
    rows: 0,
    check(response) {
      if (!fromBinary(ServerLiveResponseSchema, response).live) throw new Error("live is false");
    },
  }),
};
