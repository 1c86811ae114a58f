import { create, type Message, toBinary } from "@bufbuild/protobuf";
import {
  fileDesc,
  type GenFile,
  type GenMessage,
  type GenService,
  messageDesc,
  serviceDesc,
} from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";

/** What the methods take and give. */
export type Echo = Message<"test.Echo"> & { text: string; data: Uint8Array };

const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
  name,
  inputType: ".test.Echo",
  outputType: ".test.Echo",
  clientStreaming,
  serverStreaming,
});
const field = (name: string, number: number, type: FieldDescriptorProto_Type) => ({
  name,
  number,
  type,
  label: FieldDescriptorProto_Label.OPTIONAL,
  jsonName: name,
});

const file: GenFile = fileDesc(
  Buffer.from(
    toBinary(
      FileDescriptorProtoSchema,
      create(FileDescriptorProtoSchema, {
        name: "test/echo.proto",
        package: "test",
        syntax: "proto3",
        messageType: [
          {
            name: "Echo",
            field: [
              field("text", 1, FieldDescriptorProto_Type.STRING),
              field("data", 2, FieldDescriptorProto_Type.BYTES),
            ],
          },
        ],
        service: [
          {
            name: "EchoService",
            method: [
              method("Unary", false, false),
              method("ClientStream", true, false),
              method("ServerStream", false, true),
              method("Bidi", true, true),
            ],
          },
        ],
      }),
    ),
  ).toString("base64"),
);

/** Message of {@link EchoService}. */
export const EchoSchema: GenMessage<Echo> = messageDesc(file, 0);

/** A service with a method of each kind. */
export const EchoService: GenService<{
  unary: { methodKind: "unary"; input: typeof EchoSchema; output: typeof EchoSchema };
  clientStream: {
    methodKind: "client_streaming";
    input: typeof EchoSchema;
    output: typeof EchoSchema;
  };
  serverStream: {
    methodKind: "server_streaming";
    input: typeof EchoSchema;
    output: typeof EchoSchema;
  };
  bidi: { methodKind: "bidi_streaming"; input: typeof EchoSchema; output: typeof EchoSchema };
}> = serviceDesc(file, 0);

/** Methods that answer with what they were given; an empty text of a unary call is an error. */
export const echoMethods: ServiceImpl<typeof EchoService> = {
  unary(request, context) {
    context.responseHeader.set("x-head", context.requestHeader.get("x-given") ?? "");
    context.responseTrailer.set("x-trailer", "t");
    if (request.text === "") {
      throw new ConnectError("käse: text is empty", Code.InvalidArgument, { "x-why": "empty" });
    }
    return request;
  },
  async clientStream(requests) {
    const texts: string[] = [];
    for await (const { text } of requests) texts.push(text);
    return { text: texts.join(",") };
  },
  async *serverStream({ text, data }) {
    for (let index = 0; index < Number(text); index++) yield { text: `${index}`, data };
    if (text === "forever") for (let index = 0; ; index++) yield { text: `${index}`, data };
  },
  async *bidi(requests) {
    for await (const request of requests) {
      yield request;
      if (request.text === "end") return;
      if (request.text === "fail") throw new ConnectError("no more", Code.Aborted);
    }
  },
};

/** Serves methods by Connect's handlers, in all three protocols. */
export function echoHandler(methods: Partial<ServiceImpl<typeof EchoService>>): UniversalHandlerFn {
  const router = createConnectRouter();
  router.service(EchoService, { ...echoMethods, ...methods });
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return async (request) => {
    const handler = handlers.get(new URL(request.url).pathname);
    return handler ? handler(request) : { status: 404 };
  };
}
