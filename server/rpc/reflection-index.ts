import type { DescFile, DescService } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** The files of served services, by name and by symbol. */
export interface ReflectionIndex {
  /** Full names of the services, sorted. */
  readonly services: readonly string[];
  file(name: string): DescFile | undefined;
  /** File that declares a service, method, message, field, oneof, enum or enum value. */
  fileOfSymbol(symbol: string): DescFile | undefined;
  /** Serialized FileDescriptorProtos of a file and all that it imports, the file first. */
  withDependencies(
    file: DescFile,
  ): readonly { readonly name: string; readonly bytes: Uint8Array }[];
}

/** Indexes services with the files that they need, and further files. */
export function createReflectionIndex(
  services: readonly DescService[],
  furtherFiles: readonly DescFile[],
): ReflectionIndex {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  const serialized = new Map<string, Uint8Array>();

  const addMessage = (message: DescriptorProto, scope: string, file: DescFile): void => {
    const name = scope + message.name;
    symbols.set(name, file);
    for (const member of [...message.field, ...message.extension, ...message.oneofDecl]) {
      symbols.set(`${name}.${member.name}`, file);
    }
    for (const nested of message.nestedType) addMessage(nested, `${name}.`, file);
    for (const nested of message.enumType) addEnum(nested, `${name}.`, file);
  };
  const addEnum = (declared: EnumDescriptorProto, scope: string, file: DescFile): void => {
    symbols.set(scope + declared.name, file);
    // Enum values live in the scope around their enum.
    for (const value of declared.value) symbols.set(scope + value.name, file);
  };
  const addFile = (file: DescFile): void => {
    const name = file.proto.name;
    if (files.has(name)) return;
    files.set(name, file);
    // The descriptor as it was compiled has what protobuf-es leaves out, such as map entries.
    const { package: packageName, messageType, enumType, extension, service } = file.proto;
    const scope = packageName === "" ? "" : `${packageName}.`;
    for (const message of messageType) addMessage(message, scope, file);
    for (const declared of enumType) addEnum(declared, scope, file);
    for (const declared of extension) symbols.set(scope + declared.name, file);
    for (const declared of service) {
      symbols.set(scope + declared.name, file);
      for (const method of declared.method) {
        symbols.set(`${scope}${declared.name}.${method.name}`, file);
      }
    }
    for (const dependency of file.dependencies) addFile(dependency);
  };
  for (const service of services) addFile(service.file);
  for (const file of furtherFiles) addFile(file);

  const bytesOf = (file: DescFile): Uint8Array => {
    const name = file.proto.name;
    let bytes = serialized.get(name);
    if (!bytes) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      serialized.set(name, bytes);
    }
    return bytes;
  };
  const collect = (file: DescFile, into: Map<string, Uint8Array>): void => {
    if (into.has(file.proto.name)) return;
    into.set(file.proto.name, bytesOf(file));
    for (const dependency of file.dependencies) collect(dependency, into);
  };

  return {
    services: services.map((service) => service.typeName).sort(),
    file: (name) => files.get(name),
    fileOfSymbol: (symbol) => symbols.get(symbol),
    withDependencies(file) {
      const collected = new Map<string, Uint8Array>();
      collect(file, collected);
      return [...collected].map(([name, bytes]) => ({ name, bytes }));
    },
  };
}
