import type { TypeProto, ValueInfoProto } from "../../../../gen/onnx/onnx_pb.ts";
import type { Datatype } from "../../../tensor/datatype.ts";
import { datatypeOfElementType, elementTypeName } from "./element-type.ts";

/** A declared tensor: datatype, and dimensions with -1 for any size. */
export interface DeclaredTensor {
  readonly datatype: Datatype;
  /** `undefined` if the model declares no rank. */
  readonly shape: readonly number[] | undefined;
}

/** Reads the declaration of an input or output; `undefined` if it is no tensor that can be served. */
export function declaredTensor(value: ValueInfoProto): DeclaredTensor | undefined {
  const type = value.type?.value;
  if (type?.case !== "tensorType") return undefined;
  const datatype = datatypeOfElementType(type.value.elemType);
  if (datatype === undefined) return undefined;
  const shape = type.value.shape?.dim.map((dimension) =>
    dimension.value.case === "dimValue" ? Number(dimension.value.value) : -1,
  );
  return { datatype, shape };
}

/** A type as ONNX texts write it: `seq(map(int64,tensor(float)))`. */
export function typeText(type: TypeProto | undefined): string {
  switch (type?.value.case) {
    case "tensorType":
      return `tensor(${elementTypeName(type.value.value.elemType)})`;
    case "sparseTensorType":
      return `sparse_tensor(${elementTypeName(type.value.value.elemType)})`;
    case "sequenceType":
      return `seq(${typeText(type.value.value.elemType)})`;
    case "mapType":
      return `map(${elementTypeName(type.value.value.keyType)},${typeText(type.value.value.valueType)})`;
    case "optionalType":
      return `optional(${typeText(type.value.value.elemType)})`;
    case "opaqueType":
      return "opaque";
    case undefined:
      return "undeclared";
  }
}
