import {
  create,
  type DescFile,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  type ServerReflectionRequest as AlphaRequest,
  ServerReflectionRequestSchema as AlphaRequestSchema,
  ServerReflectionResponseSchema as AlphaResponseSchema,
  ServerReflection as ServerReflectionV1Alpha,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { createReflectionIndex, type ReflectionIndex } from "./reflection-index.ts";

/** The reflection services themselves, for the list that reflection gives. */
export const reflectionServices: readonly DescService[] = [
  ServerReflection,
  ServerReflectionV1Alpha,
];

/**
 * Serves grpc.reflection.v1 and v1alpha, whose messages are the same but for the package
 * (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md).
 *
 * @param services - what is to be seen; the reflection services are added
 */
export function registerReflectionServices(
  router: ConnectRouter,
  services: readonly DescService[],
): void {
  const index = createReflectionIndex(
    [...services, ...reflectionServices],
    // Callers that read the details of an error look for their types here.
    [file_google_rpc_error_details],
  );
  router.service(ServerReflection, {
    serverReflectionInfo: (requests) => answerAll(index, requests),
  });
  router.service(ServerReflectionV1Alpha, {
    async *serverReflectionInfo(requests) {
      for await (const response of answerAll(index, upgraded(requests))) {
        yield fromBinary(AlphaResponseSchema, toBinary(ServerReflectionResponseSchema, response));
      }
    },
  });
}

/** v1alpha differs from v1 in the package alone, so one's bytes are the other's. */
async function* upgraded(
  requests: AsyncIterable<AlphaRequest>,
): AsyncIterable<ServerReflectionRequest> {
  for await (const request of requests) {
    yield fromBinary(ServerReflectionRequestSchema, toBinary(AlphaRequestSchema, request));
  }
}

async function* answerAll(
  index: ReflectionIndex,
  requests: AsyncIterable<ServerReflectionRequest>,
): AsyncIterable<ServerReflectionResponse> {
  // A file goes out once on a stream, whoever imports it.
  const sent = new Set<string>();
  for await (const request of requests) {
    yield create(ServerReflectionResponseSchema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(index, request, sent),
    });
  }
}

type MessageResponse = NonNullable<
  MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]
>;

function answer(
  index: ReflectionIndex,
  { messageRequest }: ServerReflectionRequest,
  sent: Set<string>,
): MessageResponse {
  switch (messageRequest.case) {
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: index.services.map((name) => ({ name })) },
      };
    case "fileByFilename":
      return files(index, index.file(messageRequest.value), `file ${messageRequest.value}`, sent);
    case "fileContainingSymbol":
      return files(
        index,
        index.fileOfSymbol(messageRequest.value),
        `symbol ${messageRequest.value}`,
        sent,
      );
    case "fileContainingExtension":
      return notFound(
        `extension ${messageRequest.value.extensionNumber} of ${messageRequest.value.containingType}`,
      );
    case "allExtensionNumbersOfType": {
      // None of the files declares an extension; a type that is there has the empty list.
      const baseTypeName = messageRequest.value;
      if (!index.fileOfSymbol(baseTypeName)) return notFound(`type ${baseTypeName}`);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName } };
    }
    case undefined:
      return {
        case: "errorResponse",
        value: {
          errorCode: Code.InvalidArgument,
          errorMessage: "the request asks for nothing; set one of message_request",
        },
      };
  }
}

function files(
  index: ReflectionIndex,
  file: DescFile | undefined,
  what: string,
  sent: Set<string>,
): MessageResponse {
  if (!file) return notFound(what);
  const wanted = index
    .withDependencies(file)
    .filter(({ name }) => name === file.proto.name || !sent.has(name));
  for (const { name } of wanted) sent.add(name);
  return {
    case: "fileDescriptorResponse",
    value: { fileDescriptorProto: wanted.map(({ bytes }) => bytes) },
  };
}

function notFound(what: string): MessageResponse {
  return {
    case: "errorResponse",
    value: { errorCode: Code.NotFound, errorMessage: `${what} is not known to this server` },
  };
}
