import { fileURLToPath } from "node:url";
import {
  type ChannelCredentials,
  type ChannelOptions,
  type Client,
  type ClientDuplexStream,
  credentials,
  type Deadline,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const protoFolder = fileURLToPath(new URL("../../proto", import.meta.url));

/** Messages as @grpc/proto-loader gives them. */
export type Message = Record<string, unknown>;

/** Who calls: metadata of every call, and credentials of the channel. */
export interface GrpcJsCaller {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly credentials?: ChannelCredentials;
}

type Method = (
  request: Message,
  metadata: Metadata,
  options: { deadline?: Deadline },
  done: (error: ServiceError | null, answer: Message) => void,
) => { cancel(): void };

/** A stub that reads the .proto files by itself: it shares no code with the server. */
export interface GrpcJsClient {
  call(
    method: string,
    request: Message,
    options?: { readonly deadlineMs?: number },
  ): Promise<Message>;
  /** Starts a call and gives it, for tests that cancel. */
  begin(method: string, request: Message): { readonly answer: Promise<Message>; cancel(): void };
  /** A stream of both sides. */
  stream(method: string): ClientDuplexStream<Message, Message>;
  /** A stream of answers to one request. */
  serverStream(method: string, request: Message): AsyncIterable<Message>;
  close(): void;
}

/** Makes a stub of @grpc/grpc-js for a service. */
export function grpcJsClient(
  address: string,
  service: string,
  options: ChannelOptions = {},
  caller: GrpcJsCaller = {},
): GrpcJsClient {
  const files = ["inference/grpc_service.proto", "grpc/health/v1/health.proto"];
  const definition = loadSync(files, {
    includeDirs: [protoFolder],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const path = service.split(".");
  let found: unknown = loadPackageDefinition(definition);
  for (const part of path) found = (found as Record<string, unknown>)[part];
  const Stub = found as new (
    address: string,
    channel: ReturnType<typeof credentials.createInsecure>,
    options: ChannelOptions,
  ) => Client;
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(caller.metadata ?? {})) metadata.set(key, value);
  const client = new Stub(address, caller.credentials ?? credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    ...options,
  });
  const methods = client as unknown as Record<string, Method>;
  const begin: GrpcJsClient["begin"] = (method, request) => start(method, request, {});
  const start = (method: string, request: Message, callOptions: { deadline?: Deadline }) => {
    let cancel = (): void => {};
    const answer = new Promise<Message>((resolve, reject) => {
      const call = methods[method]!(request, metadata, callOptions, (error, message) =>
        error ? reject(error) : resolve(message),
      );
      cancel = () => call.cancel();
    });
    return { answer, cancel };
  };
  return {
    call: (method, request, { deadlineMs } = {}) =>
      start(method, request, deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs })
        .answer,
    begin,
    stream: (method) =>
      (
        methods[method] as unknown as (metadata: Metadata) => ReturnType<GrpcJsClient["stream"]>
      ).call(client, metadata),
    serverStream: (method, request) =>
      (
        methods[method] as unknown as (
          request: Message,
          metadata: Metadata,
        ) => AsyncIterable<Message>
      ).call(client, request, metadata),
    close: () => client.close(),
  };
}

/** A ModelInferRequest of one FP32 input in raw contents. */
export function fp32Request(
  model: string,
  input: string,
  shape: readonly number[],
  values: Float32Array,
): Message {
  return {
    model_name: model,
    inputs: [{ name: input, datatype: "FP32", shape }],
    raw_input_contents: [Buffer.from(values.buffer, values.byteOffset, values.byteLength)],
  };
}
