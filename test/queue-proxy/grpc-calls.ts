import { type CallOptions, Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { ExecutionContext } from "ava";

/** Calls of a test by @grpc/grpc-js, from bytes to bytes. */
export interface GrpcCaller {
  /** Resolves to the answer's text, rejects with gRPC's error. */
  call(
    method: string,
    text: string,
    metadata?: Readonly<Record<string, string>>,
    options?: CallOptions,
  ): Promise<string>;
}

/** A client of one proxy, without retries of its own. */
export function grpcCaller(t: Pick<ExecutionContext, "teardown">, port: number): GrpcCaller {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
    "grpc.enable_retries": 0,
  });
  t.teardown(() => client.close());
  return {
    call(method, text, fields = {}, options = {}) {
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(fields)) metadata.set(name, value);
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          `/test.Service/${method}`,
          (value: string) => Buffer.from(value),
          (bytes: Buffer) => bytes.toString(),
          text,
          metadata,
          options,
          (error: ServiceError | null, answer?: string) =>
            error ? reject(error) : resolve(answer ?? ""),
        );
      });
    },
  };
}
