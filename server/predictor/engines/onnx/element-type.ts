import { TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import type { Datatype } from "../../../tensor/datatype.ts";

const byElementType: ReadonlyMap<number, Datatype> = new Map([
  [TensorProto_DataType.FLOAT, "FP32"],
  [TensorProto_DataType.UINT8, "UINT8"],
  [TensorProto_DataType.INT8, "INT8"],
  [TensorProto_DataType.UINT16, "UINT16"],
  [TensorProto_DataType.INT16, "INT16"],
  [TensorProto_DataType.INT32, "INT32"],
  [TensorProto_DataType.INT64, "INT64"],
  [TensorProto_DataType.STRING, "BYTES"],
  [TensorProto_DataType.BOOL, "BOOL"],
  [TensorProto_DataType.FLOAT16, "FP16"],
  [TensorProto_DataType.DOUBLE, "FP64"],
  [TensorProto_DataType.UINT32, "UINT32"],
  [TensorProto_DataType.UINT64, "UINT64"],
  [TensorProto_DataType.BFLOAT16, "BF16"],
]);

/** Datatype of an ONNX element type; `undefined` for those that the protocol has no name for. */
export function datatypeOfElementType(elementType: number): Datatype | undefined {
  return byElementType.get(elementType);
}

/** Name of an ONNX element type in lower case, as ONNX texts write it: `float8e4m3fn`. */
export function elementTypeName(elementType: number): string {
  const found = Object.entries(TensorProto_DataType).find(([, value]) => value === elementType);
  return found ? found[0].toLowerCase() : `element type ${elementType}`;
}
