import { shapeText } from "../tensor/shape.ts";

/** An input or output of a model. */
export interface Port {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

/** Tensors in a table's cell: `input FP32[-1,4], mask BOOL[-1]`. */
export function portsText(ports: readonly Port[]): string {
  return ports
    .map(({ name, datatype, shape }) => `${name} ${datatype}${shapeText(shape)}`)
    .join(", ");
}
