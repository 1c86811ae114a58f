import { elementSize } from "../../tensor/datatype.ts";
import { numberToBf16, numberToFp16 } from "../../tensor/half.ts";
import { elementCount } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DeclaredPort } from "../engines/engine.ts";

const encoder = new TextEncoder();

/**
 * Inputs whose rows differ from each other, the same each time: small whole numbers for integers, which
 * are valid indices of most models, fractions of 1 for floats, short texts.
 *
 * @param ports - with a rank each; free dimensions behind the first are 1
 * @param start - number of the first row
 */
export function sampleRows(ports: readonly DeclaredPort[], start: number, rows: number): Tensor[] {
  return ports.map((port) => {
    const { name, datatype } = port;
    const rest = (port.shape ?? []).slice(1).map((size) => (size === -1 ? 1 : size));
    const shape = [rows, ...rest];
    const perRow = elementCount(rest);
    const first = start * perRow;
    const count = rows * perRow;
    if (datatype === "BYTES") {
      const elements = Array.from({ length: count }, (_, index) =>
        encoder.encode(`text ${whole(first + index)}`),
      );
      return { name, datatype, shape, elements };
    }
    const size = elementSize(datatype);
    const bytes = new Uint8Array(count * size);
    const view = new DataView(bytes.buffer);
    for (let index = 0; index < count; index++) {
      const at = index * size;
      const number = first + index;
      switch (datatype) {
        case "FP64":
          view.setFloat64(at, fraction(number), true);
          break;
        case "FP32":
          view.setFloat32(at, fraction(number), true);
          break;
        case "FP16":
          view.setUint16(at, numberToFp16(fraction(number)), true);
          break;
        case "BF16":
          view.setUint16(at, numberToBf16(fraction(number)), true);
          break;
        default:
          // Little-endian: the first byte is the value.
          bytes[at] = whole(number);
      }
    }
    return { name, datatype, shape, bytes };
  });
}

/** 0 or 1, without a period that a row could have. */
function whole(index: number): number {
  return (Math.imul(index + 1, 0x9e37_79b1) >>> 31) & 1;
}

/** From 0 to 1. */
function fraction(index: number): number {
  return (Math.imul(index + 1, 0x9e37_79b1) >>> 0) / 2 ** 32;
}
