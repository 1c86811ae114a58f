import {
  create,
  createRegistry,
  type DescMessage,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  type CallOptions,
  type Client,
  ConnectError,
  createClient,
  type Transport,
} from "@connectrpc/connect";
import { type Compression, createWritableIterable } from "@connectrpc/connect/protocol";
import type { ConnectTransportSettings } from "../../server/wire/client/connect-transport.ts";
import { createHttp1Transport } from "../../server/wire/client/http1-transport.ts";
import { createWireTransport } from "../../server/wire/client/wire-transport.ts";
import {
  compressionBrotli,
  compressionDeflate,
  compressionGzip,
  compressionZstd,
} from "../../server/wire/message-compressions.ts";
import { readNext, writeDelimited } from "./delimited.ts";
import { compressionSnappy } from "./snappy.ts";
import { loadSuiteProtos } from "./suite-protos.ts";

// The client under test of connectconformance: the product's transports with a client of the suite's
// service. Takes ClientCompatRequests on standard input, makes the calls, and tells what came of each
// on standard output, until its input ends.

const { service, messages } = await loadSuiteProtos();
const registry = createRegistry(...Object.values(messages));

// Values of the suite's enums (config.proto).
const httpVersion1 = 1;
const protocols = { 1: "connect", 2: "grpc", 3: "grpc-web" } as const;
const codecProto = 1;
const compressions: Readonly<Record<number, Compression>> = {
  2: compressionGzip,
  3: compressionBrotli,
  4: compressionZstd,
  5: compressionDeflate,
  6: compressionSnappy,
};
const fullDuplexBidi = 5;

interface CompatRequest {
  readonly testName: string;
  readonly httpVersion: number;
  readonly protocol: keyof typeof protocols;
  readonly codec: number;
  readonly compression: number;
  readonly host: string;
  readonly port: number;
  readonly serverTlsCert: Uint8Array;
  readonly clientTlsCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
  readonly messageReceiveLimit: number;
  readonly method: string;
  readonly streamType: number;
  readonly useGetHttpMethod: boolean;
  readonly requestHeaders: readonly SuiteHeader[];
  readonly requestMessages: readonly Any[];
  readonly timeoutMs?: number;
  readonly requestDelayMs: number;
  readonly cancel?: { readonly cancelTiming: CancelTiming };
}

type CancelTiming =
  | { readonly case: "beforeCloseSend" }
  | { readonly case: "afterCloseSendMs" | "afterNumResponses"; readonly value: number }
  | { readonly case: undefined };

interface SuiteHeader {
  readonly name: string;
  readonly value: readonly string[];
}

/** What came of a call, as a ClientResponseResult. */
interface CallResult {
  readonly payloads: unknown[];
  responseHeaders: SuiteHeader[];
  responseTrailers: SuiteHeader[];
  error?: object;
}

const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : resolve()));

function transportOf(request: CompatRequest): Transport & { readonly close: () => void } {
  const { host, port, serverTlsCert, clientTlsCreds, messageReceiveLimit } = request;
  const protocol = protocols[request.protocol];
  const compression = compressions[request.compression];
  const tls =
    serverTlsCert.length === 0
      ? undefined
      : {
          ca: Buffer.from(serverTlsCert),
          ...(clientTlsCreds
            ? { cert: Buffer.from(clientTlsCreds.cert), key: Buffer.from(clientTlsCreds.key) }
            : {}),
        };
  const settings: ConnectTransportSettings = {
    useBinaryFormat: request.codec === codecProto,
    jsonOptions: { registry },
    useHttpGet: request.useGetHttpMethod,
    // Every message is compressed, empty ones too, which are not longer than 0.
    ...(compression ? { sendCompression: compression, compressMinBytes: -1 } : {}),
    acceptCompression: compression ? [compression] : [],
    ...(messageReceiveLimit > 0 ? { readMaxBytes: messageReceiveLimit } : {}),
  };
  if (request.httpVersion === httpVersion1) {
    if (protocol === "grpc") throw new Error("gRPC needs HTTP/2");
    const baseUrl = `${tls ? "https" : "http"}://${host}:${port}`;
    const options = { ...settings, protocol, baseUrl, ...(tls ? { nodeOptions: tls } : {}) };
    return { ...createHttp1Transport(options), close() {} };
  }
  const target = { host, port };
  const options = { ...settings, protocol, target, ...(tls ? { tls } : {}) };
  const transport = createWireTransport(options);
  return { ...transport, close: () => transport.channel.destroy() };
}

async function call(request: CompatRequest, transport: Transport): Promise<CallResult> {
  const client = createClient(service, transport) as Client<typeof service> & SuiteClient;
  const method = `${request.method[0]!.toLowerCase()}${request.method.slice(1)}` as SuiteMethod;
  const requests = request.requestMessages.map((packed) => anyUnpack(packed, registry)!);
  const headers = new Headers();
  for (const { name, value } of request.requestHeaders) {
    for (const one of value) headers.append(name, one);
  }
  const timing = request.cancel?.cancelTiming ?? { case: undefined };
  const abort = new AbortController();
  const result: CallResult = { payloads: [], responseHeaders: [], responseTrailers: [] };
  const options: CallOptions = {
    headers,
    signal: abort.signal,
    onHeader: (fields) => {
      result.responseHeaders = headersOf(fields);
    },
    onTrailer: (fields) => {
      result.responseTrailers = headersOf(fields);
    },
    ...(request.timeoutMs === undefined ? {} : { timeoutMs: request.timeoutMs }),
  };
  const answered = ({ payload }: SuiteAnswer): void => {
    result.payloads.push(payload);
    if (timing.case === "afterNumResponses" && result.payloads.length === timing.value)
      abort.abort();
  };
  const sent = async (): Promise<void> => {
    if (timing.case === "afterNumResponses" && timing.value === 0) abort.abort();
    if (timing.case !== "afterCloseSendMs") return;
    await delay(timing.value);
    abort.abort();
  };
  const outgoing = async function* (): AsyncIterable<Message> {
    for (const message of requests) {
      await delay(request.requestDelayMs);
      yield message;
    }
    if (timing.case === "beforeCloseSend") abort.abort();
    else void sent();
  };
  try {
    switch (method) {
      case "clientStream":
        answered(await client.clientStream(outgoing(), options));
        break;
      case "serverStream": {
        await delay(request.requestDelayMs);
        const answers = client.serverStream(requests[0]!, options);
        void sent();
        for await (const answer of answers) answered(answer);
        break;
      }
      case "bidiStream":
        await bidi(
          client,
          options,
          request,
          requests,
          () => {
            if (timing.case === "beforeCloseSend") abort.abort();
          },
          sent,
          answered,
        );
        break;
      default: {
        await delay(request.requestDelayMs);
        const answer = client[method](requests[0]!, options);
        void sent();
        answered(await answer);
      }
    }
  } catch (error) {
    const failure = ConnectError.from(error);
    result.error = errorOf(failure);
    if (result.responseHeaders.length === 0) result.responseHeaders = headersOf(failure.metadata);
    if (result.responseTrailers.length === 0) result.responseTrailers = headersOf(failure.metadata);
  }
  return result;
}

/** Full duplex: an answer is awaited after each request; else all are sent before any is read. */
async function bidi(
  client: SuiteClient,
  options: CallOptions,
  request: CompatRequest,
  requests: readonly Message[],
  beforeClose: () => void,
  sent: () => Promise<void>,
  answered: (answer: SuiteAnswer) => void,
): Promise<void> {
  const outgoing = createWritableIterable<Message>();
  const answers = client.bidiStream(outgoing, options)[Symbol.asyncIterator]();
  let ended = false;
  const next = async (): Promise<void> => {
    const { done, value } = await answers.next();
    if (done) ended = true;
    else answered(value);
  };
  for (const message of requests) {
    await delay(request.requestDelayMs);
    await outgoing.write(message);
    if (request.streamType === fullDuplexBidi && !ended) await next();
  }
  beforeClose();
  outgoing.close();
  void sent();
  while (!ended) await next();
}

type SuiteMethod =
  | "unary"
  | "idempotentUnary"
  | "unimplemented"
  | "clientStream"
  | "serverStream"
  | "bidiStream";

interface SuiteAnswer {
  readonly payload?: unknown;
}

/** The suite's service, whose code is made when the suite runs. */
interface SuiteClient {
  unary(request: Message, options: CallOptions): Promise<SuiteAnswer>;
  idempotentUnary(request: Message, options: CallOptions): Promise<SuiteAnswer>;
  unimplemented(request: Message, options: CallOptions): Promise<SuiteAnswer>;
  clientStream(requests: AsyncIterable<Message>, options: CallOptions): Promise<SuiteAnswer>;
  serverStream(request: Message, options: CallOptions): AsyncIterable<SuiteAnswer>;
  bidiStream(requests: AsyncIterable<Message>, options: CallOptions): AsyncIterable<SuiteAnswer>;
}

function headersOf(headers: Headers): SuiteHeader[] {
  return [...headers].map(([name, value]) => ({ name, value: [value] }));
}

function errorOf({ code, rawMessage, details }: ConnectError): object {
  return {
    code,
    message: rawMessage,
    details: details.map((detail) =>
      "desc" in detail
        ? {
            typeUrl: `type.googleapis.com/${detail.desc.typeName}`,
            value: toBinary(
              detail.desc as DescMessage,
              create(detail.desc as DescMessage, detail.value as Record<string, unknown>),
            ),
          }
        : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
    ),
  };
}

async function answer(request: CompatRequest): Promise<void> {
  let result: object;
  try {
    const transport = transportOf(request);
    try {
      result = { case: "response", value: await call(request, transport) };
    } finally {
      transport.close();
    }
  } catch (error) {
    result = {
      case: "error",
      value: { message: `${error instanceof Error ? error.stack : error}` },
    };
  }
  const schema = messages.ClientCompatResponseSchema!;
  const response = create(schema, { testName: request.testName, result } as never);
  writeDelimited(process.stdout, toBinary(schema, response));
}

// The suite sends thousands of requests at once, and takes each call's time from when it sent it.
const maxCalls = 24;
const running = new Set<Promise<void>>();
for (;;) {
  while (running.size >= maxCalls) await Promise.race(running);
  const bytes = await readNext(process.stdin);
  if (!bytes) break;
  const request = fromBinary(messages.ClientCompatRequestSchema!, bytes);
  const call = answer(request as unknown as CompatRequest);
  running.add(call);
  void call.finally(() => running.delete(call));
}
