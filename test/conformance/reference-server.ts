import { create, createRegistry, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  type Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import { createConnectHost } from "../../server/rpc/connect-host.ts";
import { listenWire } from "../../server/wire/listen.ts";
import { messageCompressions } from "../../server/wire/message-compressions.ts";
import { readDelimited, writeDelimited } from "./delimited.ts";
import { compressionSnappy } from "./snappy.ts";
import { loadSuiteProtos } from "./suite-protos.ts";

// The server under test of connectconformance: the product's listener and Connect host with the suite's
// service. Takes one ServerCompatRequest on standard input, says where it listens on standard output,
// and runs until SIGTERM.

const { service, messages } = await loadSuiteProtos();

interface Header {
  readonly name: string;
  readonly value: string[];
}

interface SuiteError {
  readonly code: number;
  readonly message?: string;
  readonly details: { readonly typeUrl: string; readonly value: Uint8Array }[];
}

interface Definition {
  readonly responseHeaders: Header[];
  readonly responseTrailers: Header[];
  readonly responseDelayMs: number;
}

interface UnaryDefinition extends Definition {
  readonly response: { case?: string; value?: unknown };
}

interface StreamDefinition extends Definition {
  readonly responseData: Uint8Array[];
  readonly error?: SuiteError;
}

interface SuiteRequest<D> extends Message {
  readonly responseDefinition?: D;
  readonly fullDuplex?: boolean;
}

type Payload = { data?: Uint8Array; requestInfo?: object };

const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => (ms > 0 ? setTimeout(resolve, ms) : resolve()));

function requestInfo(requests: readonly Message[], context: HandlerContext): object {
  const timeoutMs = context.timeoutMs();
  return {
    requestHeaders: headersOf(context.requestHeader),
    ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.round(timeoutMs)) }),
    requests: requests.map((request) => anyPack(schemaOf(request), request)),
    ...(context.requestMethod === "GET"
      ? { connectGetInfo: { queryParams: queryOf(context.url) } }
      : {}),
  };
}

function schemaOf(message: Message) {
  return messages[`${message.$typeName.split(".").at(-1)}Schema`]!;
}

function headersOf(headers: Headers): Header[] {
  return [...headers].map(([name, value]) => ({
    name,
    value: value.split(",").map((v) => v.trim()),
  }));
}

function queryOf(url: string): Header[] {
  const { searchParams } = new URL(url);
  return [...new Set(searchParams.keys())].map((name) => ({
    name,
    value: searchParams.getAll(name),
  }));
}

function setMetadata(definition: Definition, context: HandlerContext): void {
  for (const { name, value } of definition.responseHeaders) {
    for (const one of value) context.responseHeader.append(name, one);
  }
  for (const { name, value } of definition.responseTrailers) {
    for (const one of value) context.responseTrailer.append(name, one);
  }
}

/** The error to throw; of a call without an answer it carries what the request was. */
function errorOf(error: SuiteError, info: object | undefined): ConnectError {
  const details = error.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  const thrown = new ConnectError(error.message ?? "", error.code as Code);
  thrown.details = [
    ...details,
    ...(info ? [{ desc: messages.ConformancePayload_RequestInfoSchema!, value: info }] : []),
  ] as ConnectError["details"];
  return thrown;
}

async function answerUnary(
  requests: readonly SuiteRequest<UnaryDefinition>[],
  context: HandlerContext,
): Promise<{ payload: Payload }> {
  const definition = requests[0]?.responseDefinition;
  const info = requestInfo(requests, context);
  if (!definition) return { payload: { requestInfo: info } };
  setMetadata(definition, context);
  await delay(definition.responseDelayMs);
  const { response } = definition;
  if (response.case === "error") throw errorOf(response.value as SuiteError, info);
  const data = response.case === "responseData" ? (response.value as Uint8Array) : undefined;
  return { payload: { ...(data ? { data } : {}), requestInfo: info } };
}

async function* answerStream(
  definition: StreamDefinition,
  first: number,
  info: (index: number) => object | undefined,
): AsyncIterable<{ payload: Payload }> {
  for (let index = first; index < definition.responseData.length; index++) {
    await delay(definition.responseDelayMs);
    const about = info(index);
    yield {
      payload: { data: definition.responseData[index]!, ...(about ? { requestInfo: about } : {}) },
    };
  }
}

function routes(router: ConnectRouter): void {
  router.service(service, {
    unary: (request: SuiteRequest<UnaryDefinition>, context: HandlerContext) =>
      answerUnary([request], context),
    idempotentUnary: (request: SuiteRequest<UnaryDefinition>, context: HandlerContext) =>
      answerUnary([request], context),
    async clientStream(
      requests: AsyncIterable<SuiteRequest<UnaryDefinition>>,
      context: HandlerContext,
    ) {
      return answerUnary(await Array.fromAsync(requests), context);
    },
    async *serverStream(request: SuiteRequest<StreamDefinition>, context: HandlerContext) {
      const info = requestInfo([request], context);
      const definition = request.responseDefinition;
      if (!definition) return;
      setMetadata(definition, context);
      yield* answerStream(definition, 0, (index) => (index === 0 ? info : undefined));
      if (definition.error) {
        throw errorOf(definition.error, definition.responseData.length === 0 ? info : undefined);
      }
    },
    async *bidiStream(
      requests: AsyncIterable<SuiteRequest<StreamDefinition>>,
      context: HandlerContext,
    ) {
      const all: SuiteRequest<StreamDefinition>[] = [];
      let definition: StreamDefinition | undefined;
      let fullDuplex = false;
      let sent = 0;
      for await (const request of requests) {
        if (all.length === 0) {
          definition = request.responseDefinition;
          fullDuplex = request.fullDuplex ?? false;
          if (definition) setMetadata(definition, context);
        }
        all.push(request);
        if (!fullDuplex || !definition) continue;
        // All is said: the stream ends, whether the client goes on or not.
        if (sent >= definition.responseData.length) break;
        await delay(definition.responseDelayMs);
        const about = sent === 0 ? requestInfo(all, context) : requestInfo([request], context);
        yield { payload: { data: definition.responseData[sent]!, requestInfo: about } };
        sent++;
      }
      if (!definition) return;
      const info = requestInfo(all, context);
      const none = sent === 0;
      yield* answerStream(definition, sent, (index) =>
        index === 0 && !fullDuplex ? info : undefined,
      );
      if (definition.error) {
        const answered = !none || definition.responseData.length > 0;
        throw errorOf(definition.error, answered ? undefined : info);
      }
    },
  } as never);
}

interface CompatRequest {
  readonly useTls: boolean;
  readonly clientTlsCert: Uint8Array;
  readonly messageReceiveLimit: number;
  readonly serverCreds?: { readonly cert: Uint8Array; readonly key: Uint8Array };
}

const request = fromBinary(
  messages.ServerCompatRequestSchema!,
  await readDelimited(process.stdin),
) as unknown as CompatRequest;
const creds = request.serverCreds;
const wire = await listenWire({
  tcp: { host: "127.0.0.1", port: 0 },
  ...(request.useTls && creds
    ? {
        tls: {
          cert: Buffer.from(creds.cert),
          key: Buffer.from(creds.key),
          ...(request.clientTlsCert.length > 0
            ? { clientCa: Buffer.from(request.clientTlsCert) }
            : {}),
        },
      }
    : {}),
  handler: createConnectHost({
    routes,
    maxMessageBytes: request.messageReceiveLimit || 64 * 1024 * 1024,
    maxTimeoutMs: 3_600_000,
    interceptors: [],
    onInternalError: (error) => process.stderr.write(`${String(error.cause)}\n`),
    // The suite counts details, and knows of none that a server adds.
    describeError: (error) => new ConnectError(error.message, error.code),
    compressions: [...messageCompressions, compressionSnappy],
    jsonRegistry: createRegistry(...Object.values(messages)),
    fallback: async () => ({ status: 404 }),
  }),
  onError: () => {},
});
const response = create(messages.ServerCompatResponseSchema!, {
  host: "127.0.0.1",
  port: wire.tcpAddress!.port,
  ...(request.useTls && creds ? { pemCert: creds.cert } : {}),
} as never);
writeDelimited(process.stdout, toBinary(messages.ServerCompatResponseSchema!, response));
process.once("SIGTERM", () => process.exit(0));
