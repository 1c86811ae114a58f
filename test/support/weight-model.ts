import { TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import { onnxModel, tensorInfo } from "./onnx-model.ts";

const rows = 1024;

/**
 * A model that is mostly weights: `y = x W`, where x is [n, 1024] and every element of W the same value. Of an
 * x whose elements add up to 1 each element of y is that value.
 *
 * @param mebibytes - size of W
 */
export function weightModel(value: number, mebibytes: number): Uint8Array {
  const columns = (mebibytes * 2 ** 20) / 4 / rows;
  const weights = new Float32Array(rows * columns).fill(value);
  return onnxModel({
    node: [
      { opType: "MatMul", input: ["x", "w"], output: ["all"] },
      { opType: "ReduceMax", input: ["all"], output: ["y"] },
    ],
    initializer: [
      {
        name: "w",
        dims: [BigInt(rows), BigInt(columns)],
        dataType: TensorProto_DataType.FLOAT,
        rawData: new Uint8Array(weights.buffer),
      },
    ],
    input: [tensorInfo("x", TensorProto_DataType.FLOAT, ["n", rows])],
    output: [tensorInfo("y", TensorProto_DataType.FLOAT, [1, 1])],
  });
}

/** Input of a weight model whose elements add up to 1. */
export function weightInput(): Float32Array {
  const x = new Float32Array(rows);
  x[0] = 1;
  return x;
}
