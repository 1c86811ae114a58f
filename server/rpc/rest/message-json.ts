import type { DescEnum, DescField, DescMessage, MessageShape } from "@bufbuild/protobuf";
import {
  isReflectList,
  isReflectMap,
  isReflectMessage,
  type ReflectMessage,
  reflect,
} from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/**
 * Writes a message as the REST protocol has it: fields by the names of the proto file, those of the
 * default value too, enums by name, and integers of 64 bits as numbers. The JSON form of protobuf has
 * strings for them, with which clients that compute fail.
 */
export function messageJson<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): string {
  return messageText(reflect(schema, message));
}

function messageText(message: ReflectMessage): string {
  const members: string[] = [];
  for (const field of message.fields) {
    const implicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
    if (!implicit && !message.isSet(field)) continue;
    members.push(`${JSON.stringify(field.name)}:${fieldText(field, message.get(field))}`);
  }
  return `{${members.join(",")}}`;
}

function fieldText(field: DescField, value: unknown): string {
  if (isReflectList(value))
    return `[${Array.from(value, (item) => valueText(item, field.enum)).join(",")}]`;
  if (isReflectMap(value)) {
    const entries = Array.from(
      value,
      ([key, item]) => `${JSON.stringify(String(key))}:${valueText(item, field.enum)}`,
    );
    return `{${entries.join(",")}}`;
  }
  return valueText(value, field.enum);
}

function valueText(value: unknown, names: DescEnum | undefined): string {
  if (isReflectMessage(value)) return messageText(value);
  if (value instanceof Uint8Array) return `"${Buffer.from(value).toString("base64")}"`;
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "number") return JSON.stringify(value);
  const name = names?.value[value]?.name;
  if (name !== undefined) return JSON.stringify(name);
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}
