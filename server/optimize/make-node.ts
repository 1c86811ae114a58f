import { create } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";
import { bytesOf } from "../tensor/typed-array.ts";

/**
 * Makes a node of the standard operators with one output.
 *
 * @param name - of no other node; it is the output's unless that was there before
 */
export function makeNode(
  opType: string,
  input: readonly string[],
  output: string,
  { name = output, attribute = [] }: NodeDetails = {},
): NodeProto {
  return create(NodeProtoSchema, {
    name,
    opType,
    input: [...input],
    output: [output],
    attribute: [...attribute],
  });
}

/** What few nodes need. */
export interface NodeDetails {
  readonly name?: string;
  readonly attribute?: readonly AttributeProto[];
}

/** Makes a Cast to an element type. */
export function makeCast(
  input: string,
  output: string,
  elementType: number,
  name: string = output,
): NodeProto {
  return makeNode("Cast", [input], output, { name, attribute: [makeInteger("to", elementType)] });
}

/** Makes an attribute that is an integer. */
export function makeInteger(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, {
    name,
    type: AttributeProto_AttributeType.INT,
    i: BigInt(value),
  });
}

/** Makes an attribute that is a tensor. */
export function makeTensorAttribute(name: string, t: TensorProto): AttributeProto {
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.TENSOR, t });
}

/** Contents of a constant: floats, 8-bit codes, or the patterns of 16-bit floats. */
type TensorValues = Float32Array | Int8Array | Uint8Array | Uint16Array;

/** Makes a constant. */
export function makeTensor(
  name: string,
  dims: readonly number[],
  values: TensorValues,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: elementTypeOf(values),
    rawData: bytesOf(values),
  });
}

function elementTypeOf(values: TensorValues): TensorProto_DataType {
  if (values instanceof Float32Array) return TensorProto_DataType.FLOAT;
  if (values instanceof Int8Array) return TensorProto_DataType.INT8;
  return values instanceof Uint8Array ? TensorProto_DataType.UINT8 : TensorProto_DataType.FLOAT16;
}
