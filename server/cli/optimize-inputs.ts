import { readFileSync } from "node:fs";
import { Problems } from "../config/problems.ts";
import type { Feeds, RuntimePort } from "../optimize/runtime.ts";
import { toOrtTensor } from "../predictor/engines/onnx/ort-tensor.ts";
import type { Datatype } from "../tensor/datatype.ts";
import { shapeMatches, shapeText } from "../tensor/shape.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import { inferInputs } from "./infer-inputs.ts";
import { splitInput } from "./input-value.ts";

const datatypes: Readonly<Record<string, Datatype>> = {
  bool: "BOOL",
  uint8: "UINT8",
  uint16: "UINT16",
  uint32: "UINT32",
  uint64: "UINT64",
  int8: "INT8",
  int16: "INT16",
  int32: "INT32",
  int64: "INT64",
  float16: "FP16",
  float32: "FP32",
  float64: "FP64",
  string: "BYTES",
};

/**
 * Reads the `--input NAME=VALUE` of a model that is open.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function givenFeeds(
  model: string,
  ports: readonly RuntimePort[],
  texts: readonly string[],
): Feeds {
  const inputs = ports.map(({ name, type, shape }) => ({
    name,
    shape,
    datatype: (type === undefined ? undefined : datatypes[type]) ?? `${type}`,
  }));
  const metadata = { name: model, versions: [], platform: "", inputs, outputs: [] };
  const given = inferInputs(metadata, texts, (path) => readFileSync(path));
  const problems = new Problems();
  const feeds: Record<string, Feeds[string]> = {};
  for (const { name, shape } of inputs) {
    const input = given[name];
    if (!input) continue;
    if (!shapeMatches(input.shape, shape)) {
      problems.push(
        `flag --input: "${name}" has shape ${shapeText(input.shape)}, expected ${shapeText(shape)}, where -1 is any size`,
      );
    } else if (input.datatype === "BYTES") {
      feeds[name] = toOrtTensor({
        name,
        datatype: "BYTES",
        shape: input.shape,
        elements: input.bytes,
      });
    } else {
      const { datatype } = input;
      feeds[name] = toOrtTensor({
        name,
        datatype,
        shape: input.shape,
        bytes: bytesOf(input.data),
      });
    }
  }
  problems.throwIfAny();
  return feeds;
}

/**
 * Reads the `--shape NAME=1,3,224,224` of inputs.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function givenShapes(texts: readonly string[]): Map<string, readonly number[]> {
  const problems = new Problems();
  const shapes = new Map<string, readonly number[]>();
  for (const text of texts) {
    const { name, value } = splitInput(text) ?? { name: "", value: "" };
    const sizes = value
      .split(",")
      .map((size) => (/^\s*[1-9]\d*\s*$/.test(size) ? Number(size) : 0));
    if (name === "" || sizes.includes(0)) {
      problems.push(
        `flag --shape: got ${JSON.stringify(text)}, expected NAME=SIZES such as x=1,3,224,224`,
      );
    } else shapes.set(name, sizes);
  }
  problems.throwIfAny();
  return shapes;
}
