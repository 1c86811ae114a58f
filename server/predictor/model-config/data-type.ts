import { DataType } from "../../../gen/inference/model_config_pb.ts";
import type { Datatype } from "../../tensor/datatype.ts";

const toConfig: Readonly<Record<Datatype, DataType>> = {
  BOOL: DataType.TYPE_BOOL,
  UINT8: DataType.TYPE_UINT8,
  UINT16: DataType.TYPE_UINT16,
  UINT32: DataType.TYPE_UINT32,
  UINT64: DataType.TYPE_UINT64,
  INT8: DataType.TYPE_INT8,
  INT16: DataType.TYPE_INT16,
  INT32: DataType.TYPE_INT32,
  INT64: DataType.TYPE_INT64,
  FP16: DataType.TYPE_FP16,
  FP32: DataType.TYPE_FP32,
  FP64: DataType.TYPE_FP64,
  BF16: DataType.TYPE_BF16,
  BYTES: DataType.TYPE_STRING,
};

/** The name that config.pbtxt has for a datatype. */
export function configDataType(datatype: Datatype): DataType {
  return toConfig[datatype];
}

const fromConfig: ReadonlyMap<DataType, Datatype> = new Map(
  (Object.entries(toConfig) as [Datatype, DataType][]).map(([datatype, value]) => [
    value,
    datatype,
  ]),
);

/** The datatype that config.pbtxt means; `undefined` for none. */
export function datatypeOfConfig(value: DataType): Datatype | undefined {
  return fromConfig.get(value);
}
