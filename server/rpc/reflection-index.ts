import type { DescFile, DescMessage, DescService } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

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

  const addMessage = (message: DescMessage, file: DescFile): void => {
    symbols.set(message.typeName, file);
    for (const member of message.fields) symbols.set(`${message.typeName}.${member.name}`, file);
    for (const oneof of message.oneofs) symbols.set(`${message.typeName}.${oneof.name}`, file);
    for (const nested of message.nestedMessages) addMessage(nested, file);
    for (const nested of message.nestedEnums) addEnum(nested, file);
  };
  const addEnum = (declared: DescFile["enums"][number], file: DescFile): void => {
    symbols.set(declared.typeName, file);
    // Enum values live in the scope around their enum.
    const scope = declared.typeName.slice(0, declared.typeName.lastIndexOf(".") + 1);
    for (const value of declared.values) symbols.set(scope + value.name, file);
  };
  const addFile = (file: DescFile): void => {
    const name = file.proto.name;
    if (files.has(name)) return;
    files.set(name, file);
    for (const message of file.messages) addMessage(message, file);
    for (const declared of file.enums) addEnum(declared, file);
    for (const service of file.services) {
      symbols.set(service.typeName, file);
      for (const method of service.methods) symbols.set(`${service.typeName}.${method.name}`, file);
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
