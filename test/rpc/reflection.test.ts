import {
  create,
  createFileRegistry,
  type DescService,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequestSchema,
  type ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  type ServerReflectionRequest as AlphaRequest,
  ServerReflectionRequestSchema as AlphaRequestSchema,
  type ServerReflectionResponse as AlphaResponse,
  ServerReflectionResponseSchema as AlphaResponseSchema,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import {
  file_inference_grpc_service,
  GRPCInferenceService,
} from "../../gen/inference/grpc_service_pb.ts";
import { registerReflectionServices } from "../../server/rpc/reflection-service.ts";
import { openGrpcJs, startHost } from "./start-host.ts";

type Asked = NonNullable<MessageInitShape<typeof ServerReflectionRequestSchema>["messageRequest"]>;

async function start(t: ExecutionContext<unknown>) {
  return startHost(t, (router) => {
    router.service(GRPCInferenceService, {});
    router.service(Health, {});
    registerReflectionServices(router, [GRPCInferenceService, Health]);
  });
}

/** Asks all on one stream. */
async function ask(
  t: ExecutionContext<unknown>,
  ...asked: Asked[]
): Promise<ServerReflectionResponse[]> {
  const { baseUrl } = await start(t);
  const client = createClient(ServerReflection, createGrpcTransport({ baseUrl }));
  const requests = (async function* () {
    for (const messageRequest of asked) yield { host: "h", messageRequest };
  })();
  return Array.fromAsync(client.serverReflectionInfo(requests));
}

function filesOf({ messageResponse }: ServerReflectionResponse) {
  if (messageResponse.case !== "fileDescriptorResponse") throw new Error(messageResponse.case);
  return messageResponse.value.fileDescriptorProto.map((bytes) =>
    fromBinary(FileDescriptorProtoSchema, bytes),
  );
}

test("the services are listed, reflection's own too", async (t) => {
  const [answer] = await ask(t, { case: "listServices", value: "*" });
  t.is(answer?.validHost, "h");
  t.deepEqual(
    answer?.messageResponse.case === "listServicesResponse" &&
      answer.messageResponse.value.service.map(({ name }) => name),
    [
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "inference.GRPCInferenceService",
    ],
  );
});

test("a file comes with all that it imports, so that the service can be built from it", async (t) => {
  const [answer] = await ask(t, {
    case: "fileContainingSymbol",
    value: "inference.GRPCInferenceService",
  });
  const file = filesOf(answer!);
  t.is(file[0]?.name, "inference/grpc_service.proto");
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: file.reverse() }));
  const service = registry.getService("inference.GRPCInferenceService") as DescService;
  t.deepEqual(
    service.methods.map(({ name, methodKind }) => [name, methodKind]),
    GRPCInferenceService.methods.map(({ name, methodKind }) => [name, methodKind]),
  );
  t.deepEqual(
    service.method.modelInfer!.input.fields.map(({ name, number }) => [name, number]),
    GRPCInferenceService.method.modelInfer.input.fields.map(({ name, number }) => [name, number]),
  );
});

test("symbols of every kind are found, and files by name", async (t) => {
  const symbols = [
    "inference.GRPCInferenceService",
    "inference.GRPCInferenceService.ModelInfer",
    "inference.ModelInferRequest",
    "inference.ModelInferRequest.InferInputTensor",
    "inference.ModelInferRequest.InferInputTensor.shape",
    "inference.ModelInferRequest.ParametersEntry",
    "inference.InferParameter.parameter_choice",
    "inference.DataType",
    "inference.TYPE_FP32",
    "grpc.health.v1.HealthCheckResponse.SERVING",
    "google.rpc.ErrorInfo",
  ];
  const answers = await ask(
    t,
    ...symbols.map((value): Asked => ({ case: "fileContainingSymbol", value })),
    { case: "fileByFilename", value: "inference/model_config.proto" },
  );
  t.deepEqual(
    answers.map((answer) => filesOf(answer)[0]?.name),
    [
      ...Array(7).fill("inference/grpc_service.proto"),
      "inference/model_config.proto",
      "inference/model_config.proto",
      "grpc/health/v1/health.proto",
      "google/rpc/error_details.proto",
      "inference/model_config.proto",
    ],
  );
});

test("what a stream has sent is not sent again, but for the file that is asked for", async (t) => {
  const [first, second, third] = await ask(
    t,
    { case: "fileByFilename", value: "inference/grpc_service.proto" },
    { case: "fileByFilename", value: "inference/grpc_service.proto" },
    { case: "fileByFilename", value: "inference/model_config.proto" },
  );
  const names = (answer: ServerReflectionResponse) => filesOf(answer).map(({ name }) => name);
  t.deepEqual(
    new Set(names(first!)),
    new Set([
      "inference/grpc_service.proto",
      ...file_inference_grpc_service.dependencies.map(({ proto }) => proto.name),
    ]),
  );
  t.deepEqual(names(second!), ["inference/grpc_service.proto"]);
  t.deepEqual(names(third!), ["inference/model_config.proto"]);
});

test("what is not there is NOT_FOUND on the stream, which goes on", async (t) => {
  const answers = await ask(
    t,
    { case: "fileByFilename", value: "no.proto" },
    { case: "fileContainingSymbol", value: "no.Such" },
    {
      case: "fileContainingExtension",
      value: { containingType: "inference.ModelInferRequest", extensionNumber: 100 },
    },
    { case: "allExtensionNumbersOfType", value: "no.Such" },
    { case: undefined },
    { case: "allExtensionNumbersOfType", value: "inference.ModelInferRequest" },
  );
  const codes = answers.map(({ messageResponse }) =>
    messageResponse.case === "errorResponse" ? messageResponse.value.errorCode : 0,
  );
  t.deepEqual(codes, [...Array(4).fill(status.NOT_FOUND), status.INVALID_ARGUMENT, status.OK]);
  const last = answers.at(-1)?.messageResponse;
  t.like(last, {
    case: "allExtensionNumbersResponse",
    value: { baseTypeName: "inference.ModelInferRequest", extensionNumber: [] },
  });
});

test("v1alpha answers the same", async (t) => {
  const { port } = await start(t);
  const stream = openGrpcJs(t, port).makeBidiStreamRequest(
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    (request: AlphaRequest) => Buffer.from(toBinary(AlphaRequestSchema, request)),
    (bytes): AlphaResponse => fromBinary(AlphaResponseSchema, bytes),
  );
  stream.write(
    create(AlphaRequestSchema, {
      messageRequest: { case: "fileContainingSymbol", value: "inference.GRPCInferenceService" },
    }),
  );
  stream.end();
  const [answer, ...more] = (await Array.fromAsync(stream)) as AlphaResponse[];
  t.is(more.length, 0);
  t.like(answer?.originalRequest?.messageRequest, {
    case: "fileContainingSymbol",
    value: "inference.GRPCInferenceService",
  });
  const response = answer?.messageResponse;
  t.is(response?.case, "fileDescriptorResponse");
  const [bytes] =
    response?.case === "fileDescriptorResponse" ? response.value.fileDescriptorProto : [];
  t.is(fromBinary(FileDescriptorProtoSchema, bytes!).name, "inference/grpc_service.proto");
});
