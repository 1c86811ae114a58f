import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponse_Feature,
  CodeGeneratorResponseSchema,
  Edition,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { generateFile } from "./generate-file.ts";

// A plugin of protoc and buf: descriptors come in on standard input, files go out on standard output.
// It writes a codec beside the file of protoc-gen-es for every .proto file that it is given.

const request = fromBinary(CodeGeneratorRequestSchema, await readAll());
const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: request.protoFile }));
const folders = parameterOf("folder");
const response = create(CodeGeneratorResponseSchema, {
  supportedFeatures: BigInt(
    CodeGeneratorResponse_Feature.PROTO3_OPTIONAL | CodeGeneratorResponse_Feature.SUPPORTS_EDITIONS,
  ),
  minimumEdition: Edition.EDITION_PROTO3,
  maximumEdition: Edition.EDITION_2023,
});
for (const name of request.fileToGenerate) {
  if (folders.length > 0 && !folders.some((folder) => name.startsWith(`${folder}/`))) continue;
  const file = registry.getFile(name);
  if (!file) throw new Error(`${name} is to be generated, but its descriptor did not come`);
  response.file.push({
    $typeName: "google.protobuf.compiler.CodeGeneratorResponse.File",
    name: `${file.name}_codec.ts`,
    insertionPoint: "",
    content: generateFile(file),
  });
}
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response));

/** Values of an option: `opt: [folder=inference]`. */
function parameterOf(name: string): string[] {
  return request.parameter
    .split(",")
    .filter((part) => part.startsWith(`${name}=`))
    .map((part) => part.slice(name.length + 1));
}

async function readAll(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
