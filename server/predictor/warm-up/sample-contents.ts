import { type Datatype, elementSize } from "../../tensor/datatype.ts";
import { numberToBf16, numberToFp16 } from "../../tensor/half.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** Contents of a tensor. */
type Contents = Pick<Tensor, "bytes" | "elements">;

/** Zeros, or empty strings. */
export function zeroContents(datatype: Datatype, count: number): Contents {
  if (datatype === "BYTES")
    return { elements: Array.from({ length: count }, () => new Uint8Array()) };
  return { bytes: new Uint8Array(count * elementSize(datatype)) };
}

/**
 * Floats from 0 to 1, integers of any value that their datatype has, and empty strings.
 *
 * @param random - from 0 to 1
 */
export function randomContents(
  datatype: Datatype,
  count: number,
  random: () => number = Math.random,
): Contents {
  const contents = zeroContents(datatype, count);
  const { bytes } = contents;
  if (!bytes) return contents;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = elementSize(datatype);
  for (let at = 0; at < bytes.byteLength; at += size) writeRandom(view, at, datatype, random);
  return contents;
}

function writeRandom(view: DataView, at: number, datatype: Datatype, random: () => number): void {
  switch (datatype) {
    case "FP16":
      view.setUint16(at, numberToFp16(random()), true);
      break;
    case "BF16":
      view.setUint16(at, numberToBf16(random()), true);
      break;
    case "FP32":
      view.setFloat32(at, random(), true);
      break;
    case "FP64":
      view.setFloat64(at, random(), true);
      break;
    case "BOOL":
      view.setUint8(at, random() < 0.5 ? 0 : 1);
      break;
    default:
      for (let byte = 0; byte < elementSize(datatype); byte++)
        view.setUint8(at + byte, Math.floor(random() * 256));
  }
}
